"""What sizes an export's programs take: written beside each, told in manifest and card, checked by ``verify``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from torch import nn

from ..evaluators.hardware.device import Device
from ..evaluators.onnx.dynamic_export import Exported, export_dynamic
from ..evaluators.onnx.export_probes import probes
from ..evaluators.onnx.named_tensors import named_inputs
from ..evaluators.onnx.onnx_pinning import pinned
from ..evaluators.task.dynamic_axes import BATCH, DynamicAxes, dynamic_axes, sample_inputs
from ..evaluators.task.task import Inputs, Task
from .manifest import ONNX, ONNX_FIXED, ONNX_INT8, ONNX_INT8_FIXED

Shapes = dict[str, dict[str, Any]]

_FIXED_SIZES = frozenset(("x-cube-ai", "vela", "litert", "executorch", "tflite", "cmsis-nn"))
"""Runtimes, in lower case, that are compiled for one size of each input, or plan their memory for it."""
_TWINS = {ONNX: ONNX_FIXED, ONNX_INT8: ONNX_INT8_FIXED}


def write_onnx(model: nn.Module, task: Task, folder: Path) -> Shapes:
    """Write ``model.onnx`` and return what it takes.

    Raises:
        EvaluationError: the network cannot be exported.
    """
    exported = export_dynamic(model, task)
    (folder / ONNX).write_bytes(exported.file)
    return {ONNX: told(exported)}


def told(exported: Exported[Any]) -> dict[str, Any]:
    """Return what a manifest says of a program's sizes."""
    return {"dynamic": exported.axes.to_dict(), "fixed": dict(exported.fixed), "tried": list(exported.tried)}


def shapes_of_int8(onnx_file: bytes, shapes: Mapping[str, Mapping[str, Any]]) -> Shapes:
    """Return what an int8 file takes; why something does not vary is known of the fp32 file beside it."""
    names = {
        value.name: {
            str(axis): dim.dim_param for axis, dim in enumerate(value.type.tensor_type.shape.dim) if dim.dim_param
        }
        for value in onnx.load_from_string(onnx_file).graph.input
    }
    fixed = shapes.get(ONNX, {}).get("fixed", {})
    return {ONNX_INT8: {"dynamic": {n: a for n, a in names.items() if a}, "fixed": dict(fixed), "tried": []}}


def wants_fixed_sizes(device: Device) -> bool:
    """Return whether a device's runtime takes one size of each input alone."""
    return device.runtime.lower() in _FIXED_SIZES


def write_fixed_twins(example_input: Inputs, folder: Path) -> Shapes:
    """Write each ONNX file once more at the example's size, for runtimes that take no other, and say what they take."""
    shapes: Shapes = {}
    for name, twin in _TWINS.items():
        if (folder / name).exists():
            (folder / twin).write_bytes(pinned((folder / name).read_bytes(), example_input, keep_names=True))
            shapes[twin] = {"dynamic": {}, "fixed": {"every size": "the device's runtime wants it so"}, "tried": []}
    return shapes


def fitting_inputs(
    model: nn.Module, task: Task, real: Sequence[Inputs], shapes: Mapping[str, Any] | None
) -> list[Inputs]:
    """Return those of some inputs that a program takes, and further ones of other sizes of what varies in it.

    Args:
        model: the PyTorch network.
        task: whose data are looked at.
        real: inputs, a batch of 1 each.
        shapes: what a manifest says of the program; ``None`` where it says nothing, and the program takes a batch of 1.
    """
    axes = DynamicAxes.from_dict((shapes or {}).get("dynamic", {}))
    example = named_inputs(model, task.example_input)
    taken = [inputs for inputs in real if _fits(named_inputs(model, inputs), example, axes)]
    if not axes.names:
        return taken
    samples = list(sample_inputs(task))
    varying = dynamic_axes(task, model, samples)
    home = {n: 1 if n == BATCH else s for n, s in varying.sizes(example).items() if n not in axes.dimensions}
    tried = probes(model, task.example_input, varying, samples)
    return taken + [p.given for p in tried if all(p.sizes[n] == size for n, size in home.items())]


def _fits(found: Mapping[str, Any], example: Mapping[str, Any], axes: DynamicAxes) -> bool:
    return found.keys() == example.keys() and all(
        size == wanted or axis in axes.names.get(name, {})
        for name, tensor in found.items()
        for axis, (size, wanted) in enumerate(zip(tensor.shape, example[name].shape, strict=False))
    )


def sizes_in_words(shapes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a sentence or more for each program: what varies in it, and what does not and why."""
    return [line for name, told_of in shapes.items() for line in _sentences(name, told_of)]


def _sentences(name: str, shapes: Mapping[str, Any]) -> list[str]:
    dimensions = DynamicAxes.from_dict(shapes["dynamic"]).dimensions
    if not dimensions and "every size" in shapes["fixed"]:
        return [f"`{name}` takes the example's sizes and a batch of 1 alone, as {shapes['fixed']['every size']}."]
    takes = f"any {' and '.join(dimensions)}" if dimensions else "a batch of 1 of the example's size"
    tried = f"; compared with PyTorch at {'; '.join(shapes['tried'])}" if shapes["tried"] else ""
    lines = [f"`{name}` takes {takes}{tried}."]
    lines += [f"In `{name}` the {d} is fixed at the example's: {why}." for d, why in shapes["fixed"].items()]
    return lines
