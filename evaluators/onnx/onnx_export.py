"""A network as ONNX: one graph, weights inside, constants folded; of fixed shapes, or with axes that vary."""

from __future__ import annotations

import inspect
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from ...errors import EvaluationError, describe
from ...spaces.inputs import call, separate_attention
from ..hardware.recording import evaluating, tensors_in
from ..task.dynamic_axes import DynamicAxes
from ..task.task import Inputs
from .named_tensors import FlatNetwork, named_inputs, named_outputs
from .onnx_graph import rename
from .pad_folding import fold_pads
from .quiet_export import quiet_export
from .zero_folding import fold_zeros

OPSET = 17
TORCHSCRIPT, DYNAMO = "torchscript", "dynamo"
_PLACE = "input//{}"
"""What inputs are called while they are exported, as no weight is: an argument may bear a parameter's name."""

Refusals = (RuntimeError, TypeError, ValueError, NotImplementedError, AttributeError, KeyError, IndexError)
"""What exporters raise; their own errors are RuntimeErrors."""


def export_onnx(model: nn.Module, example_input: Inputs, *, fast: bool = False) -> bytes:
    """Return ``model`` in eval mode as an ONNX file for inputs shaped like ``example_input``; the model is unchanged.

    Inputs are called ``input``, or ``input_0``, ``input_1``, ... for a tuple, or like a dict's keys; outputs
    ``output``, or ``output_0``, ``output_1``, ... where there are several. The TorchScript exporter is used where
    PyTorch has one (0.1 s for a ResNet-8), the slower ``torch.export`` based one (1.5 to 3 s) otherwise. Zero padding
    of its own is folded into the convolutions behind it, and zeros are not added. This is the file that is timed;
    :func:`export_dynamic_onnx` makes the one that is handed over. ``fast`` keeps to the faster exporter.

    Raises:
        EvaluationError: the network cannot be exported.
    """
    with evaluating(model), torch.no_grad(), separate_attention():
        try:
            subject, args, options = _call_of(model, example_input)
            outputs = list(tensors_in(options.pop("outputs")))
            options["output_names"] = ["output"] if len(outputs) == 1 else [f"output_{i}" for i in range(len(outputs))]
            options["input_names"] = input_names(example_input)
            return _folded(_either(subject, args, options, fast=fast))
        except Refusals as error:
            raise export_error(error) from error


def export_dynamic_onnx(
    model: nn.Module, example_input: Inputs, axes: DynamicAxes, *, exporter: str = TORCHSCRIPT
) -> bytes:
    """Return ``model`` as an ONNX file whose inputs vary along ``axes``, as far as the exporter lets them.

    Whether the file really computes the same at other sizes is for the caller to check. Inputs and outputs are called
    by :mod:`~espalier.evaluators.onnx.named_tensors`.

    Args:
        model: the network; it is not changed.
        example_input: what is traced, a batch of 2 where the batch varies: exporters take a size of 1 for a constant.
        axes: which vary; the others are of the example's size.
        exporter: :data:`TORCHSCRIPT` or :data:`DYNAMO`.

    Raises:
        EvaluationError: the network cannot be exported.
    """
    with evaluating(model), torch.no_grad(), separate_attention():
        try:
            given, outputs = named_inputs(model, example_input), named_outputs(call(model, example_input))
            names = {name: f"{name}_output" if name in given else name for name in outputs}
            make = _dynamic_torchscript if exporter == TORCHSCRIPT else _dynamic_dynamo
            file = make(model, example_input, given, axes)
            return _named(file, given, tuple(names.values()), axes)
        except Refusals as error:
            raise export_error(error) from error


def exporters() -> tuple[str, ...]:
    """Return the exporters that this PyTorch has, the faster one first."""
    return (TORCHSCRIPT, DYNAMO) if _has_torchscript_exporter() else (DYNAMO,)


def export_error(error: Exception) -> EvaluationError:
    """Return the error that says in a few lines why a network cannot be exported."""
    return EvaluationError(
        describe(
            f"the ONNX export fails: {first_words(error)}",
            expected="a network that torch.onnx can export",
            remedy="Replace the operator named, or freeze the layer around it.",
        )
    )


def first_words(error: BaseException, limit: int = 300) -> str:
    """Return what an exporter's error says, without its advice, its stack and the pages of its graph."""
    text = str(error)
    if "## Exception summary" in text:  # how the dynamo exporter words all of its errors
        text = text.split("## Exception summary", 1)[1]
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("(Refer", "⬆"))]
    words = re.sub(r"^<class '(?:\w+\.)*(\w+)'>", r"\1", lines[0]) if lines else type(error).__name__
    return words if len(words) <= limit else f"{words[:limit]} ..."


def _folded(onnx_file: bytes) -> bytes:
    """Return the file with what can be folded; the very bytes where nothing can."""
    if b"Pad" not in onnx_file and b"Add" not in onnx_file:
        return onnx_file
    model = onnx.load_from_string(onnx_file)
    return model.SerializeToString() if fold_pads(model) + fold_zeros(model) else onnx_file


def onnx_feed(example_input: Inputs) -> dict[str, np.ndarray]:
    """Return the inputs as ONNX Runtime takes them, by the names that :func:`export_onnx` gives."""
    names = input_names(example_input)
    return {n: t.detach().cpu().numpy() for n, t in zip(names, tensors_in(example_input), strict=True)}


def feed_of_file(names: Sequence[str], inputs: Inputs) -> dict[str, np.ndarray]:
    """Return the inputs by the names that a file has for them, be it the one that is timed or the one handed over."""
    timed = onnx_feed(inputs)
    if set(names) <= timed.keys():
        return {name: timed[name] for name in names}
    if isinstance(inputs, Mapping):
        found = {n: t.detach().cpu().numpy() for n, t in named_inputs(None, inputs).items()}
        return {name: found[name] for name in names}
    return dict(zip(names, timed.values(), strict=True))


def input_names(example_input: Inputs) -> list[str]:
    """Return the names of the inputs of the file that is timed."""
    if isinstance(example_input, Mapping) and _is_flat(example_input.values()):
        return list(example_input)
    count = len(list(tensors_in(example_input)))
    return ["input"] if isinstance(example_input, torch.Tensor) else [f"input_{i}" for i in range(count)]


def _is_flat(values: Any) -> bool:
    return all(isinstance(value, torch.Tensor) for value in values)


def _call_of(model: nn.Module, example_input: Inputs) -> tuple[nn.Module, tuple[Any, ...], dict[str, Any]]:
    """Return what an exporter calls and how: the network itself where it can, else wrapped to take only tensors."""
    outputs = call(model, example_input)
    plain = isinstance(outputs, torch.Tensor | Mapping) or (isinstance(outputs, tuple | list) and _is_flat(outputs))
    if isinstance(example_input, torch.Tensor) and plain:
        return model, (example_input,), {"outputs": outputs}
    if isinstance(example_input, Mapping) and _is_flat(example_input.values()) and plain:
        return model, (), {"kwargs": dict(example_input), "outputs": outputs}
    if isinstance(example_input, tuple) and _is_flat(example_input) and plain:
        return model, example_input, {"outputs": outputs}
    flat = FlatNetwork(model, example_input)
    given = tuple(named_inputs(model, example_input).values())
    return flat, given, {"outputs": flat(*given)}


def _either(model: nn.Module, args: tuple[Any, ...], options: dict[str, Any], *, fast: bool) -> bytes:
    if not _has_torchscript_exporter():
        return _dynamo(model, args, options)
    try:
        return _torchscript(model, args, options)
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        if fast:
            raise
        # It is no longer given operators that are newer than it (RMSNorm); the other exporter has them.
        try:
            return _dynamo(model, args, options)
        except Refusals:
            raise error from None  # the shorter words of the two


def _dynamic_torchscript(
    model: nn.Module, example_input: Inputs, given: Mapping[str, torch.Tensor], axes: DynamicAxes
) -> bytes:
    subject, args, options = _call_of(model, example_input)
    del options["outputs"]
    names = {name: _PLACE.format(i) for i, name in enumerate(given)}
    options |= {
        "input_names": list(names.values()),
        "dynamic_axes": {names[name]: dict(each) for name, each in axes.names.items()},
    }
    return _folded(_torchscript(subject, args, options))


def _dynamic_dynamo(
    model: nn.Module, example_input: Inputs, given: Mapping[str, torch.Tensor], axes: DynamicAxes
) -> bytes:
    auto = torch.export.Dim.AUTO
    shapes = tuple(dict.fromkeys(axes.names.get(name, {}), auto) for name in given)
    flat = FlatNetwork(model, example_input)
    return _folded(_dynamo(flat, tuple(given.values()), {"dynamic_shapes": (shapes,)}))


def _named(onnx_file: bytes, given: Mapping[str, torch.Tensor], outputs: tuple[str, ...], axes: DynamicAxes) -> bytes:
    """Give inputs, outputs and the dimensions that vary the names that the network has for them."""
    model = onnx.load_from_string(onnx_file)
    names = [value.name for value in model.graph.input]
    if not names or names[0].startswith(_PLACE.format("")):
        names = [_PLACE.format(i) for i in range(len(given))]
    rename(model, dict(zip(names, given, strict=True)), outputs)
    _keep_inputs(model.graph, given, axes)
    symbols: dict[str, str] = {}
    for value in model.graph.input:
        for axis, dimension in axes.names.get(value.name, {}).items():
            symbols.setdefault(value.type.tensor_type.shape.dim[axis].dim_param, dimension)
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = symbols.get(dim.dim_param, dim.dim_param)
    return model.SerializeToString()


def _keep_inputs(graph: onnx.GraphProto, given: Mapping[str, torch.Tensor], axes: DynamicAxes) -> None:
    """Have the graph take every input of the network, in its order: exporters drop those that nothing reads."""
    found = {value.name: value for value in graph.input}
    for name, tensor in given.items():
        if name not in found:
            kind = onnx.helper.np_dtype_to_tensor_dtype(tensor.detach().cpu().numpy().dtype)
            shape = [axes.names.get(name, {}).get(axis, size) for axis, size in enumerate(tensor.shape)]
            found[name] = onnx.helper.make_tensor_value_info(name, kind, shape)
    ordered = [found[name] for name in given]
    del graph.input[:]
    graph.input.extend(ordered)


def _dynamo(model: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> bytes:
    with quiet_export():
        program = torch.onnx.export(model, args, dynamo=True, verbose=False, **options)
    if program is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    return program.model_proto.SerializeToString()


def _has_torchscript_exporter() -> bool:
    return "dynamic_axes" in inspect.signature(torch.onnx.export).parameters


def _torchscript(model: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="espalier-onnx-") as folder, quiet_export():
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            model, args, str(path), dynamo=False, opset_version=OPSET, do_constant_folding=True, **options
        )
        return path.read_bytes()
