"""What can be pruned from a task's network, what it costs on a device, and what pruning can reach there at most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import nn

from ..errors import EspalierError, EvaluationError, InputError, describe
from ..evaluators.counting import count_params
from ..evaluators.hardware.base import Cost, CostModel, LayerCost
from ..evaluators.hardware.device import Device
from ..evaluators.hardware.estimate import cost_model_for
from ..evaluators.onnx.export_check import ExportCheck, try_export
from ..evaluators.sensitivity import Sensitivity, sensitivity
from ..evaluators.task.example_inputs import example_inputs
from ..evaluators.task.measure import ACCURACY, Measure
from ..evaluators.task.task import Task
from ..evaluators.task.task_measure import measure_of
from ..evaluators.task_evaluator import TaskEvaluator
from ..evaluators.training.threads import torch_threads
from ..spaces.graph.fingerprint import fingerprint
from ..spaces.graph.groups import FrozenGroup, Graph, Group
from ..spaces.graph.parameter_usage import params_of, removable_params, unused_layers
from ..spaces.graph.trace import trace
from ..spaces.importance.rankings import rank
from ..spaces.pruning_types import PRUNING_TYPES
from .diagnosis import Diagnosis, diagnose, untraceable
from .pruning_potential import Effect, PruningPotential, Reached, pruning_potential


@dataclass(frozen=True)
class Inspection:
    """A task's network, looked at for one device."""

    task: str
    device: str
    channel_multiple: int
    """Widths worth searching on this device are multiples of it."""
    pruning_types: tuple[str, ...]
    type_notes: Mapping[str, str]
    """For each pruning type, what it gains on the device."""
    note: str
    """What a reader of the device's numbers must know; empty if they are what they seem."""
    diagnosis: Diagnosis
    graph: Graph
    cost: Cost
    layers: tuple[LayerCost, ...]
    """Each fused kernel's cost, in execution order."""
    unused: tuple[str, ...]
    """Layers (or single parameters of one) that the forward pass never touches."""
    unused_params: int
    """How many parameters those hold."""
    fixed_params: int
    """How many parameters lie in no channel of a group, so that pruning channels never reaches them."""
    reached: tuple[Reached, ...]
    """What pruning all groups reaches: as far as it goes, and at half."""
    effects: tuple[Effect, ...]
    """What each group alone brings on the device, in the order of the groups."""
    export: ExportCheck = field(default_factory=ExportCheck)
    """What came of trying to export the network."""
    sensitivities: tuple[Sensitivity, ...] = ()
    """Where asked for: the score left after each group alone is pruned, one entry per group."""
    measure: Measure = ACCURACY
    """What the score is."""

    def widths(self, group: Group) -> tuple[int, ...]:
        """Return the channel counts that the device makes worth keeping in ``group``."""
        return group.widths(self.channel_multiple)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for ``--json``."""
        cost = asdict(self.cost)
        del cost["layers"]
        return {
            "task": self.task,
            "device": self.device,
            "diagnosis": asdict(self.diagnosis),
            "model_fingerprint": self.graph.fingerprint,
            "channel_multiple": self.channel_multiple,
            "pruning_types": list(self.pruning_types),
            "type_notes": dict(self.type_notes),
            "groups": [self._group(group) for group in self.graph.groups],
            "frozen": [self._frozen(frozen) for frozen in self.graph.frozen],
            "export": self.export.to_dict(),
            "unused_layers": list(self.unused),
            "unused_params": self.unused_params,
            "fixed_params": self.fixed_params,
            "dense": cost,
            "reachable": [reached.to_dict() for reached in self.reached],
            "layers": [asdict(layer) for layer in self.layers],
            "note": self.note,
            "metric": self.measure.to_dict(),
            "notes": list(self.graph.notes),
            "sensitivity": [asdict(entry) for entry in self.sensitivities],
        }

    def effect(self, group: str) -> Effect:
        """Return what pruning ``group`` alone brings on the device."""
        return next(effect for effect in self.effects if effect.group == group)

    @staticmethod
    def _frozen(frozen: FrozenGroup) -> dict[str, Any]:
        return {**asdict(frozen), "remedy": frozen.code.remedy}

    def _group(self, group: Group) -> dict[str, Any]:
        effect = asdict(self.effect(group.name))
        return {
            "name": group.name,
            "channels": group.channels,
            "layers": list(group.layers),
            "stage": group.stage,
            "verification": group.verification,
            "widths": list(self.widths(group)),
            "effect": {name: value for name, value in effect.items() if name not in ("group", "of")},
        }


def inspect_task(task: Task, device: Device, *, threads: int = 1, with_sensitivity: bool = False) -> Inspection:
    """Trace a task's network and tell its cost on ``device``.

    Args:
        task: the task, checked already.
        device: the target.
        threads: of the runtime, where it is measured here.
        with_sensitivity: also prune each group alone by half and tell the score, which takes a validation per group.
    """
    with torch_threads(threads):
        return _inspect(task, device, threads, with_sensitivity)


def _inspect(task: Task, device: Device, threads: int, with_sensitivity: bool) -> Inspection:
    model = task.model().eval()
    graph, failure = _traced(model, task)
    costs = cost_model_for(device, threads=threads)
    exported = try_export(model, task)
    found = _reach(model, graph, task, costs, exported)
    unused = () if failure else unused_layers(model, *example_inputs(task))
    return Inspection(
        task=task.name,
        device=device.name,
        channel_multiple=costs.alignment("fp32"),
        pruning_types=PRUNING_TYPES.names(),
        type_notes={name: type_note(name, device) for name in PRUNING_TYPES},
        note=device.note("fp32"),
        diagnosis=failure or diagnose(graph, found.effects),
        graph=graph,
        cost=found.dense,
        layers=costs.profile(model, task.example_input),
        unused=unused,
        unused_params=params_of(model, unused),
        fixed_params=count_params(model) - removable_params(model, graph),
        reached=found.reached,
        effects=found.effects,
        export=exported,
        sensitivities=_sensitivities(task, graph, device, threads) if with_sensitivity else (),
        measure=measure_of(task),
    )


def _reach(model: nn.Module, graph: Graph, task: Task, costs: CostModel, exported: ExportCheck) -> PruningPotential:
    """Return what pruning reaches, by costs that may be measured on the exported network.

    Raises:
        InputError: the network cannot be exported, and this device's costs need that.
    """
    try:
        return pruning_potential(model, graph, task.example_input, costs)
    except EvaluationError as error:
        if exported.passed:
            raise
        raise InputError(
            describe(
                f"the network of task {task.name!r} cannot be exported: {exported.reason}",
                expected="a network that can be exported, as its cost on this device is that of the file",
                remedy=f"{exported.remedy} Or inspect it for a device whose costs are predicted.",
            )
        ) from error


def _traced(model: nn.Module, task: Task) -> tuple[Graph, Diagnosis | None]:
    """Return the network's trace; an empty one and why where tracing fails."""
    try:
        return trace(model, example_inputs(task), freeze=task.freeze), None
    except EspalierError:
        raise
    except Exception as error:  # noqa: BLE001 - a stranger's network may raise anything: that is the diagnosis
        return Graph((), (), fingerprint(model)), untraceable(error)


def type_note(name: str, device: Device) -> str:
    """Return what a pruning type gains on ``device``, in words."""
    if not PRUNING_TYPES.get(name).zeroes:
        return "offered"
    kernels = device.kernels_for(name)
    if kernels:
        return f"kernels for {', '.join(kernels)}, which the latency told here gives no credit for; ask with --types"
    return "no kernel on this device: smaller file only; ask with --types"


def _sensitivities(task: Task, graph: Graph, device: Device, threads: int) -> tuple[Sensitivity, ...]:
    rankings = rank(task.model().eval(), graph, ("l2",))
    return sensitivity(TaskEvaluator(task, graph, rankings, device, threads))
