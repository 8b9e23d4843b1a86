"""From an export folder back to a PyTorch network, without pickle: the task's network, the policy, the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ..errors import InputError, describe
from ..evaluators.task.example_inputs import example_inputs
from ..evaluators.task.task import Inputs, Task
from ..evaluators.task.task_loading import is_built_in, load_task
from ..jsonfile import read_json
from ..spaces.apply import prune
from ..spaces.graph.fingerprint import fingerprint
from ..spaces.graph.trace import trace
from ..spaces.importance.rankings import Rankings
from ..spaces.masks import Masks, broken_promises, masks_of
from ..spaces.policy import Policy
from .manifest import POLICY, RANKINGS, WEIGHTS, Manifest, input_from_spec


@dataclass(frozen=True)
class Rebuilt:
    """A pruned network with its weights, and which of them stay zero."""

    model: nn.Module
    masks: Masks


def load(
    folder: Path | str,
    *,
    task: Task | None = None,
    model: nn.Module | None = None,
    data: Path | None = None,
    trust: bool = False,
) -> nn.Module:
    """Rebuild the pruned network of an export folder, in eval mode on the CPU.

    Nothing of the folder is executed, unless ``trust``.

    Args:
        folder: what ``export`` wrote.
        task: the task whose network was pruned; need not be given where it is one of Espalier's own.
        model: the dense network instead of a task; it is not changed.
        data: where the task's data lies.
        trust: import the task that the manifest names, whatever it is.

    Raises:
        InputError: a file is missing or torn, the task cannot be loaded or would have to be trusted, or the dense
            network is another one.
    """
    folder = Path(folder)
    manifest = Manifest.read(folder)
    if model is None:
        task = task or task_of(manifest, folder, data=data, trust=trust)
        model = task.model().eval()
    examples = [input_from_spec(manifest.example_input)] if task is None else example_inputs(task)
    refuse_other_network(model, manifest.model_fingerprint, where=str(folder), task=manifest.task)
    return rebuild(manifest, folder, model, examples).model


def may_load(manifest: Manifest, *, trust: bool) -> bool:
    """Return whether the task that the manifest names may be imported: Espalier's own always, others where trusted."""
    return trust or is_built_in(manifest.task_reference)


def task_of(manifest: Manifest, folder: Path, *, data: Path | None = None, trust: bool = False) -> Task:
    """Load the task that the manifest names, if it is one of Espalier's own or ``trust``.

    Raises:
        InputError: the task was a Python object, may not be imported, or its reference cannot be loaded.
    """
    if manifest.task_reference is None:
        raise InputError(
            describe(
                f"{folder} was made from a task given as a Python object ({manifest.task!r})",
                expected="the task or its dense network beside the folder",
                remedy="From Python, call load(folder, task=...) or load(folder, model=...).",
            )
        )
    if not may_load(manifest, trust=trust):
        raise InputError(
            describe(
                f"{folder} names the task {manifest.task_reference!r}, and importing it executes it",
                expected="a task that you name yourself, or a folder that you trust",
                remedy="Give --task TASK or --trust (from Python load(folder, task=...) or trust=True).",
            )
        )
    try:
        return load_task(manifest.task_reference, data=data)
    except InputError as error:
        raise InputError(
            f"the task of {folder} cannot be loaded: {error} Where it has moved, name it: espalier verify --task, or "
            "from Python load(folder, task=...)."
        ) from error


def refuse_other_network(dense: nn.Module, expected: str, *, where: str, task: str) -> None:
    """Refuse a dense network whose parameters differ in name, shape or type from the one that was pruned.

    Raises:
        InputError: it differs.
    """
    found = fingerprint(dense)
    if found != expected:
        raise InputError(
            describe(
                f"the dense network has fingerprint {found}, but {where} was made from {expected}",
                expected=f"the network that the task {task!r} had then",
                remedy="Restore the task's network, or pass the right one from Python.",
            )
        )


def rebuild(manifest: Manifest, folder: Path, dense: nn.Module, examples: list[Inputs]) -> Rebuilt:
    """Prune ``dense`` (which is not changed) by the folder's policy and give it the folder's weights."""
    policy = Policy.from_dict(read_json(folder / POLICY))
    return rebuild_from(
        dense,
        examples,
        policy,
        rankings=Rankings.from_dict(read_json(folder / RANKINGS)),
        freeze=manifest.freeze,
        weights=read_weights(folder / WEIGHTS),
        where=str(folder),
    )


def rebuild_from(
    dense: nn.Module,
    examples: list[Inputs],
    policy: Policy,
    *,
    rankings: Rankings,
    freeze: Sequence[str],
    weights: Mapping[str, torch.Tensor],
    where: str,
) -> Rebuilt:
    """Return a pruned network with its weights, in eval mode; ``dense`` is not changed.

    Args:
        dense: the network that the policy prunes.
        examples: what the network is traced with.
        policy: what to remove.
        rankings: which channels were kept.
        freeze: the task's frozen layers.
        weights: parameters and buffers of the pruned network.
        where: the folder that they come from, for messages.

    Raises:
        InputError: policy, rankings or weights are of another network.
    """
    graph = trace(dense, examples, freeze=freeze)
    small = prune(dense, graph, policy, rankings=rankings)
    _take_weights(small, weights, where)
    broken = broken_promises(small, graph, policy)
    if broken:
        raise InputError(
            describe(
                f"the weights of {where} are not as sparse as its policy says: {', '.join(broken[:5])}",
                expected="zeros wherever the policy takes single weights out",
                remedy="Export again.",
            )
        )
    return Rebuilt(small.eval(), masks_of(small, graph, policy))


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file.

    Raises:
        InputError: it is absent or torn.
    """
    try:
        return load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise InputError(
            describe(f"{path} cannot be read ({error})", expected="a whole safetensors file", remedy="Export again.")
        ) from error


def _take_weights(model: nn.Module, weights: Mapping[str, torch.Tensor], where: str) -> None:
    state: dict[str, Any] = model.state_dict()
    wrong = sorted(state.keys() ^ weights.keys())
    wrong += [
        f"{name} {tuple(weights[name].shape)} for {tuple(tensor.shape)}"
        for name, tensor in state.items()
        if name in weights and tensor.shape != weights[name].shape
    ]
    if wrong:
        raise InputError(
            describe(
                f"the weights of {where} do not fit the pruned network: {', '.join(wrong[:5])}",
                expected="a tensor of the same name and shape for each parameter and buffer",
                remedy="Export again.",
            )
        )
    model.load_state_dict(weights)
