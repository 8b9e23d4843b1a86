"""Measures an exported network again: what ``export`` records and what ``verify`` compares with the claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from torch import nn

from ..evaluators.hardware.device import Device
from ..evaluators.hardware.estimate import cost_model_for
from ..evaluators.hardware.measured import MeasuredModel
from ..evaluators.onnx.onnx_export import export_onnx
from ..evaluators.onnx.onnx_network import Deployed
from ..evaluators.sparse_size import with_sparse_size
from ..evaluators.task.data import as_network_input, batches
from ..evaluators.task.task import Inputs, Task
from ..evaluators.training.scoring import score
from ..spaces.inputs import map_tensors, tensors_of
from ..spaces.masks import NO_MASKS, Masks
from .export_shapes import fitting_inputs
from .formats import FORMATS
from .manifest import ONNX
from .parity import Parity, parity, random_inputs

PARITY_INPUTS = 16
"""Random inputs, and as many real ones, on which exported files are compared with PyTorch."""


@dataclass(frozen=True)
class LatencyPair:
    """Latency of an exported network and of the dense one, from the same session."""

    latency_ms: float
    dense_ms: float
    error: float
    """Of the exported network's latency, as a fraction."""
    source: str


def scores(model: nn.Module, task: Task) -> dict[str, float | None]:
    """Return the score on validation data and, where the task has any, on test data."""
    test = None if task.test is None else score(model, task, task.test)
    return {"accuracy": score(model, task, task.validation), "test_accuracy": test}


def counted(
    deployed: Deployed,
    example_input: Inputs,
    device: Device,
    *,
    threads: int,
    precision: str = "fp32",
    masks: Masks = NO_MASKS,
) -> dict[str, float | None]:
    """Return what is counted and not timed: size, MACs, parameters, peak memory."""
    costs = cost_model_for(device, threads=threads)
    told = costs.estimate(deployed.model, example_input, precision=precision, onnx=deployed.onnx)
    cost = with_sparse_size(told, masks)
    return {
        "size_bytes": cost.size_bytes,
        "dense_size_bytes": cost.dense_size_bytes,
        "macs": cost.macs,
        "params": cost.params,
        "peak_memory_bytes": cost.peak_memory_bytes,
    }


def latency_of_export(
    deployed: Deployed,
    folder: Path,
    dense: nn.Module,
    example_input: Inputs,
    device: Device,
    *,
    threads: int,
    precision: str = "fp32",
) -> LatencyPair:
    """Time the exported file and the dense network at fp32 in turns on this machine, or predict both elsewhere.

    The file is the int8 one at int8, else ``model.onnx``, else one made here, where none was exported. A device whose
    runtime takes the PyTorch network is given that.
    """
    onnx, file = deployed.onnx, folder / ONNX
    if device.reachable and onnx is None:
        onnx = file.read_bytes() if file.exists() else export_onnx(deployed.model, example_input)
    costs = MeasuredModel(device, threads=threads) if device.reachable else cost_model_for(device, threads=threads)
    small, large = costs.estimate_together(
        (deployed.model, dense), example_input, precisions=(precision, "fp32"), onnx=(onnx, None)
    )
    return LatencyPair(small.latency_ms, large.latency_ms, small.latency_error, small.source)


def parities(
    model: nn.Module,
    task: Task,
    folder: Path,
    formats: Sequence[str],
    shapes: Mapping[str, Mapping[str, Any]],
    *,
    trust: bool = False,
) -> dict[str, Parity]:
    """Compare each exported program in ``folder`` with the PyTorch network on random and on validation inputs.

    ``shapes`` are the manifest's: a program is also compared at other sizes of what varies in it. With ``trust``,
    ``model.pt2`` is loaded by PyTorch, which executes what the file says.
    """
    drawn = random_inputs(task.example_input, PARITY_INPUTS)
    real = validation_inputs(task, PARITY_INPUTS)
    found = {}
    for name in (name for name in FORMATS if name in formats):
        made = FORMATS.get(name)
        fitting = fitting_inputs(model, task, real, shapes.get(made.file))
        forward = made.forward(folder / made.file, trust=trust)
        found[name] = parity(model, forward, random_inputs=drawn, real_inputs=fitting)
    return found


def validation_inputs(task: Task, count: int) -> list[Any]:
    """Return the first ``count`` inputs of the validation set, each as a batch of 1."""

    def singles() -> Any:
        for inputs, targets in batches(task.validation, name="validation", task=task).walk(count, limit=count):
            floating = as_network_input(inputs, task.example_input)
            for i in range(len(tensors_of(targets)[0])):
                single = map_tensors(lambda t, i=i: t[i : i + 1], floating)
                yield tuple(single) if isinstance(single, list) else single

    return list(islice(singles(), count))
