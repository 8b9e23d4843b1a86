"""The file that is handed over: it takes any batch, and any size of what varies, as far as that was seen to be right.

An exporter can write a constant where a network takes a size from its input, and says nothing. So each file is run at
several sizes beside PyTorch, and an axis along which it fails gets the example's size, with the reason.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import numpy as np
import onnx
from torch import nn

from ...errors import EvaluationError
from ...spaces.architectures.attention import with_free_heads
from ..hardware.onnxruntime_session import open_session
from ..task.dynamic_axes import BATCH, DynamicAxes, dynamic_axes, sample_inputs
from ..task.task import Inputs, Task
from .export_probes import BATCHES, Probe, probes, traced_input
from .onnx_export import TORCHSCRIPT, export_dynamic_onnx, exporters, feed_of_file
from .onnx_pinning import pinned
from .zero_folding import fold_zeros

TOLERANCE = 1e-4
"""Largest difference to PyTorch, relative to the largest absolute output."""

File = TypeVar("File")
Forward = Callable[[Probe], Sequence[np.ndarray]]
"""What an exported network computes of a probe, in the order of its outputs."""
Make = Callable[[DynamicAxes], tuple[File, Forward]]
"""Exports a network whose inputs vary along the axes given."""


@dataclass(frozen=True)
class Exported(Generic[File]):
    """A file with what it was seen to take."""

    file: File
    axes: DynamicAxes
    """Along which its inputs vary."""
    fixed: Mapping[str, str] = field(default_factory=dict)
    """Why a dimension does not vary in it, by its name."""
    tried: tuple[str, ...] = ()
    """The sizes at which it was compared with PyTorch."""


def export_dynamic(
    model: nn.Module, task: Task, *, batches: Sequence[int] = BATCHES, quick: bool = False
) -> Exported[bytes]:
    """Return a network as an ONNX file of as many dynamic axes as it computes right.

    Args:
        model: the network; it is not changed.
        task: whose inputs it takes.
        batches: sizes of the batch at which it is compared with PyTorch.
        quick: leave out the slow exporter where the fast one does at all.

    Raises:
        EvaluationError: the network cannot be exported at all.
        TaskError: the task declares an axis that there is not.
    """
    samples = list(sample_inputs(task))
    axes = dynamic_axes(task, model, samples)
    tried = probes(model, task.example_input, axes, samples, batches=batches)

    def makes() -> Iterator[Make[bytes]]:
        for exporter in exporters()[: 1 if quick else None]:
            yield lambda a, e=exporter: _onnx_file(model, task.example_input, a, e)
            # It writes the length into PyTorch's own attention as a constant, which the slow exporter does not.
            if exporter == TORCHSCRIPT and (by_parts := with_free_heads(model)) is not None:
                yield lambda a, m=by_parts: _onnx_file(m, task.example_input, a, TORCHSCRIPT)

    found = widest(axes, tried, makes())
    return replace(found, file=with_output_shapes(found.file, tried, found.axes))


def _onnx_file(model: nn.Module, example: Inputs, axes: DynamicAxes, exporter: str) -> tuple[bytes, Forward]:
    traced = traced_input(model, example, axes)
    file = _without_zeros(export_dynamic_onnx(model, traced, axes, exporter=exporter), traced)
    return file, onnx_forward(file)


def _without_zeros(onnx_file: bytes, traced: Inputs) -> bytes:
    """Return the file without the zeros that dropped branches leave, whose shape follows an input's."""
    model = onnx.load_from_string(onnx_file)
    if not any(node.op_type in ("ConstantOfShape", "Expand") for node in model.graph.node):
        return onnx_file
    sized = onnx.load_from_string(pinned(onnx_file, traced, fold=False))
    return model.SerializeToString() if fold_zeros(model, sized=sized) else onnx_file


def onnx_forward(onnx_file: bytes) -> Forward:
    """Return what an ONNX file computes in ONNX Runtime; it is silent about what it fails on.

    Raises:
        EvaluationError: the runtime refuses the file.
    """
    session = open_session(onnx_file, threads=1, quiet=True)
    names = [i.name for i in session.get_inputs()]

    def forward(probe: Probe) -> Sequence[np.ndarray]:
        return session.run(None, feed_of_file(names, probe.given))

    return forward


def widest(axes: DynamicAxes, tried: Sequence[Probe], makes: Iterator[Make[File]]) -> Exported[File]:
    """Return the first file that varies along all axes, else the one that varies along most.

    Raises:
        EvaluationError: nothing could be made.
    """
    best: Exported[File] | None = None
    refusal: EvaluationError | None = None
    for make in makes:
        try:
            found = _widest_of(axes, tried, make)
        except EvaluationError as error:
            refusal = refusal or error
            continue
        if best is None or len(found.axes.dimensions) > len(best.axes.dimensions):
            best = found
        if not best.fixed:
            break
    if best is None:
        raise refusal or EvaluationError("no exporter could be tried")
    return best


def _widest_of(axes: DynamicAxes, tried: Sequence[Probe], make: Make[File]) -> Exported[File]:
    """Return the file of one exporter that varies along most axes; of none where all else fails."""
    try:
        file, forward = make(axes)
    except EvaluationError as error:
        return _without(axes, tried, make, dict.fromkeys(axes.dimensions, str(error)))
    faults = {probe.words: disparity(probe, forward) for probe in tried}
    reasons = _reasons(axes, tried, faults)
    if not reasons:
        return Exported(file, axes, {}, tuple(faults))
    return _without(axes, tried, make, reasons)


def _without(axes: DynamicAxes, tried: Sequence[Probe], make: Make[File], reasons: Mapping[str, str]) -> Exported[File]:
    """Return what is left once the dimensions that failed have the example's size."""
    named = [name for name in axes.dimensions if name in reasons]
    home = tried[0].sizes
    for count in range(1, len(named) + 1):
        # The batch stays dynamic for as long as that can be.
        for dropped in itertools.combinations(reversed(named), count):
            left = axes.without(*dropped)
            relevant = [p for p in tried if all(p.sizes[d] == (1 if d == BATCH else home[d]) for d in dropped)]
            try:
                file, forward = make(left)
            except EvaluationError as error:
                if count == len(named):
                    raise
                reasons = {**reasons, dropped[0]: str(error)}
                continue
            faults = {probe.words: disparity(probe, forward) for probe in relevant}
            if not any(faults.values()) or not left.names:
                return Exported(file, left, {name: reasons[name] for name in dropped}, tuple(faults))
    return _without(axes, tried, make, {**dict.fromkeys(axes.dimensions, next(iter(reasons.values()))), **reasons})


def _reasons(axes: DynamicAxes, tried: Sequence[Probe], faults: Mapping[str, str | None]) -> dict[str, str]:
    """Return why dimensions cannot vary, by name: at which size the file was wrong, or that none could be tried."""
    home = tried[0].sizes if tried else {}
    reasons: dict[str, str] = {}
    for name in axes.dimensions:
        usual = 1 if name == BATCH else home.get(name)
        moved = [p for p in tried if p.sizes[name] != usual]
        if not moved:
            reasons[name] = f"the network does not run at any other {name}"
        wrong = next((f for p in moved if (f := faults[p.words])), None)
        if wrong is not None:
            reasons[name] = wrong
    batch_alone = [p for p in tried if all(p.sizes[n] == home[n] for n in axes.dimensions if n != BATCH)]
    if BATCH in reasons and len(reasons) > 1 and not any(faults[p.words] for p in batch_alone):
        del reasons[BATCH]  # what failed also had another size of something else
    return reasons


def disparity(probe: Probe, forward: Forward) -> str | None:
    """Return in words by what an exported network differs from PyTorch on a probe; ``None`` if it does not."""
    where = f"at {probe.words} " if probe.sizes else ""
    try:
        found = forward(probe)
    except Exception as error:  # noqa: BLE001 - runtimes' exceptions share no base but Exception
        return f"{where}the file does not run ({_first_line(error)})"
    names = list(probe.expected)
    if len(found) != len(names):
        return f"{where}the file gives {len(found)} outputs, PyTorch {len(names)}"
    pairs = zip(names, found, strict=True)
    wrong = (_difference(name, probe.expected[name], np.asarray(value)) for name, value in pairs)
    return next((f"{where}{words}" for words in wrong if words is not None), None)


def _difference(name: str, expected: np.ndarray, found: np.ndarray) -> str | None:
    if expected.shape != found.shape:
        return f"output {name} has shape {found.shape}, in PyTorch {expected.shape}"
    if not expected.size:
        return None
    wanted, given = expected.astype(np.complex128), found.astype(np.complex128)
    largest = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)) or 1.0
    same = (wanted == given) | (np.isnan(wanted) & np.isnan(given))
    with np.errstate(invalid="ignore"):
        off = float(np.where(same, 0.0, np.abs(wanted - given)).max())
    if off <= TOLERANCE * largest:
        return None
    return f"output {name} differs from PyTorch by {off:.3g}, its largest value is {largest:.3g}"


def _first_line(error: Exception) -> str:
    text = (str(error).splitlines() or [type(error).__name__])[0]
    text = text.split("Status Message: ")[-1]
    return text if len(text) <= 200 else f"{text[:200]} ..."


def with_output_shapes(onnx_file: bytes, tried: Sequence[Probe], axes: DynamicAxes) -> bytes:
    """Return the file with its outputs' shapes as PyTorch has them: what follows an input's size bears its name."""
    model = onnx.load_from_string(onnx_file)
    seen = [p for p in tried if all(p.sizes[n] == tried[0].sizes[n] for n in p.sizes if n not in axes.dimensions)]
    for value, name in zip(model.graph.output, tried[0].expected, strict=True):
        shapes = [probe.expected[name].shape for probe in seen]
        if len({len(shape) for shape in shapes}) > 1:
            continue
        value.type.tensor_type.shape.Clear()
        for axis, sizes in enumerate(zip(*shapes, strict=True)):
            same = (d for d in axes.dimensions if all(p.sizes[d] == s for p, s in zip(seen, sizes, strict=True)))
            dim = value.type.tensor_type.shape.dim.add()
            if (dimension := next(same, None)) is not None:
                dim.dim_param = dimension
            elif len(set(sizes)) > 1:
                dim.dim_param = f"{value.name}_{axis}"
            else:
                dim.dim_value = sizes[0]
    return model.SerializeToString()
