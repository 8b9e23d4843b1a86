"""The files of an export, each measured or checked as it is written."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import save
from torch import nn

from ..errors import EvaluationError, describe
from ..evaluators.configuration import Configuration
from ..evaluators.hardware.device import Device
from ..evaluators.objectives import Constraint
from ..evaluators.onnx.named_tensors import named_inputs
from ..evaluators.onnx.onnx_network import Deployed, deploy
from ..evaluators.onnx.output_check import OutputCheck
from ..evaluators.task.task import Task
from ..jsonfile import write_json, write_text
from ..spaces.masks import NO_MASKS, Masks
from ..spaces.pruning_types import PRUNING_TYPES
from .export_shapes import shapes_of_int8, wants_fixed_sizes, write_fixed_twins
from .formats import FORMATS
from .int8 import int8_record
from .manifest import CARD, ONNX, ONNX_INT8, POLICY, RANKINGS, WEIGHTS, Manifest, file_list, input_spec
from .model_card import model_card
from .parity import TOLERANCE, Parity
from .remeasure import LatencyPair, counted, latency_of_export, parities, scores
from .sections.reproduce import search_command

if TYPE_CHECKING:
    from ..search.run_folder import Run


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is being exported."""

    run: Run
    pick: str
    constraints: tuple[Constraint, ...]
    configuration: Configuration
    task: Task
    device: Device
    dense: nn.Module
    model: nn.Module
    """The pruned network with its weights."""
    masks: Masks
    """Which of its weights stay zero."""
    fine_tune_epochs: int

    @property
    def threads(self) -> int:
        """Threads that the run measured with."""
        return self.run.info.options.threads_per_worker

    @property
    def claims_of_run(self) -> bool:
        """Whether the run's final numbers are this network's: they exist, and it was not trained further."""
        return self.fine_tune_epochs == 0 and self.configuration.trial in self.run.finished

    @property
    def int8_of_run(self) -> str | None:
        """Digest of the int8 file that the run took its final numbers of."""
        finished = self.run.finished.get(self.configuration.trial)
        return None if finished is None else finished.int8_sha256


def write_files(subject: Subject, folder: Path, formats: Sequence[str], *, command_out: Path) -> None:
    """Write all files of an export into ``folder``.

    Raises:
        EvaluationError: an exported program does not compute what the PyTorch network computes.
    """
    policy = subject.configuration.policy
    OutputCheck.of(subject.dense, subject.task).refuse(subject.model, "the pruned network")
    write_json(folder / POLICY, policy.to_dict())
    write_json(folder / RANKINGS, _rankings_of(subject))
    _save_weights(subject.model, folder / WEIGHTS)
    shapes: dict[str, dict[str, Any]] = {}
    for name in (name for name in formats if name in FORMATS):
        shapes |= FORMATS.get(name).write(subject.model, subject.task, folder)
    scheme = subject.device.quantisation_scheme
    deployed = deploy(subject.model, subject.task, policy.precision, threads=subject.threads, scheme=scheme)
    if deployed.onnx is not None:
        # Whatever the formats: it is what the run's numbers are of.
        (folder / ONNX_INT8).write_bytes(deployed.onnx)
        shapes |= shapes_of_int8(deployed.onnx, shapes)
    if wants_fixed_sizes(subject.device):
        shapes |= write_fixed_twins(subject.task.example_input, folder)
    # Trusted: written a moment ago.
    found = parities(subject.model, subject.task, folder, formats, shapes, trust=True)
    _refuse_disparity(found)
    manifest = _manifest(subject, deployed, found, shapes, formats, command_out, folder)
    names = tuple(named_inputs(subject.model, subject.task.example_input))
    write_text(folder / CARD, model_card(manifest, policy, names))
    dataclasses.replace(manifest, files=file_list(folder)).write(folder)


def _rankings_of(subject: Subject) -> dict[str, Any]:
    """Return those of the run's rankings that the policy reads, so that the same channels are kept again."""
    rankings = subject.run.rankings
    kept: dict[str, dict[str, tuple[int, ...]]] = {}
    for group, choice in subject.configuration.policy.choices.items():
        if choice.criterion is not None and not PRUNING_TYPES.get(choice.type).zeroes:
            kept.setdefault(choice.criterion, {})[group] = rankings.of(choice.criterion, group)
    return {"version": 1, "order": kept}


def _save_weights(model: nn.Module, path: Path) -> None:
    # A copy of each tensor, as safetensors refuses those that share memory; its own save_file writes a file that only
    # its owner can read, which is no use for a folder to hand over.
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in model.state_dict().items()}
    path.write_bytes(save(tensors))


def _refuse_disparity(found: Mapping[str, Parity]) -> None:
    for name, result in found.items():
        if not result.passed:
            raise EvaluationError(
                describe(
                    f"the {name} export gives no proof: {result.fault}"
                    if result.fault
                    else f"the {name} export differs from PyTorch by {result.relative:.1e} of the output's scale",
                    expected=f"at most {TOLERANCE:.0e}",
                    remedy=f"Leave {name} out of --formats, and report the network.",
                )
            )


def _manifest(
    subject: Subject,
    deployed: Deployed,
    found: Mapping[str, Parity],
    shapes: Mapping[str, Mapping[str, Any]],
    formats: Sequence[str],
    out: Path,
    folder: Path,
) -> Manifest:
    run, configuration, task = subject.run, subject.configuration, subject.task
    measured, measured_dense, timed = _measured(subject, deployed, folder)
    scheme = subject.device.quantisation_scheme
    int8 = int8_record(deployed, task, of_run=subject.int8_of_run, scheme=scheme, threads=subject.threads)
    # Another machine or version may quantise to other bytes; what the run measured is then not of this file.
    from_run = subject.claims_of_run and (int8 is None or int8["sha256"] == subject.int8_of_run)
    return Manifest(
        task=task.name,
        task_reference=run.info.task_reference,
        device=subject.device.name,
        device_definition=subject.device.model_dump(mode="json"),
        threads=subject.threads,
        precision=configuration.policy.precision,
        trial=configuration.trial,
        pick=subject.pick,
        constraints=tuple(str(c) for c in (*run.constraints, *subject.constraints)),
        metric=run.measure.to_dict(),
        model_fingerprint=run.info.model_fingerprint,
        data_fingerprint=run.info.data_fingerprint,
        example_input=input_spec(task.example_input),
        freeze=tuple(task.freeze),
        samples=configuration.seen_samples,
        fine_tune_epochs=subject.fine_tune_epochs,
        claimed=dict(configuration.metrics) if from_run else measured,
        claimed_by="run" if from_run else "export",
        dense=dict(run.dense.metrics) if from_run else measured_dense,
        latency_source=timed.source,
        latency_error=configuration.latency_error if from_run else timed.error,
        measured=measured,
        measured_dense=measured_dense,
        parity={name: result.to_dict() for name, result in found.items()},
        versions=dict(run.info.versions),
        search=run.info.options.to_dict(),
        search_command=search_command(run),
        command=_command(subject, formats, out),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        claims_of=ONNX if int8 is None and "onnx" in formats else WEIGHTS if int8 is None else ONNX_INT8,
        int8=int8,
        shapes=shapes,
        files=file_list(folder),
    )


def _measured(
    subject: Subject, deployed: Deployed, folder: Path
) -> tuple[dict[str, float | None], dict[str, float | None], LatencyPair]:
    task, device, threads = subject.task, subject.device, subject.threads
    example, precision = task.example_input, subject.configuration.policy.precision
    brought = Deployed(subject.dense, subject.dense, None)
    timed = latency_of_export(deployed, folder, subject.dense, example, device, threads=threads, precision=precision)
    own, dense = (
        {
            **scores(each.network, task),
            "latency_ms": milliseconds,
            **counted(each, example, device, threads=threads, precision=at, masks=masks),
        }
        for each, milliseconds, at, masks in (
            (deployed, timed.latency_ms, precision, subject.masks),
            (brought, timed.dense_ms, "fp32", NO_MASKS),
        )
    )
    return own, dense, timed


def _command(subject: Subject, formats: Sequence[str], out: Path) -> str:
    words = ["espalier", "export", str(subject.run.path), "--pick", subject.pick, "--out", str(out)]
    for constraint in subject.constraints:
        words += ["--constraint", str(constraint)]
    words += ["--formats", ",".join(formats) or "safetensors"]
    if subject.fine_tune_epochs:
        words += ["--fine-tune", str(subject.fine_tune_epochs)]
    return shlex.join(words)
