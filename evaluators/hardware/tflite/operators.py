"""How each ONNX operator is said in TensorFlow Lite. What is missing here is an error that names the operator."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ....errors import EvaluationError, describe
from ....registry import Registry
from .builder import TO_FIRST, TO_LAST, Builder
from .onnx_graph import Node
from .schema import ACTIVATIONS, SAME, VALID, Quantisation

Conversion = Callable[[Builder, Node], None]
CONVERSIONS: Registry[Conversion] = Registry("ONNX operator")
"""By the operators' names in ONNX."""


def unsupported(node: Node, what: str) -> EvaluationError:
    """Return the error for what cannot be said in TensorFlow Lite."""
    return EvaluationError(
        describe(
            f"{node.operator} ({node.name}) {what}",
            expected=f"one of {', '.join(sorted(CONVERSIONS))}, in the forms that TensorFlow Lite has",
            remedy="Replace the operator, or choose another runtime or device.",
        )
    )


def _elementwise(code: str) -> Conversion:
    def convert(builder: Builder, node: Node) -> None:
        rank = len(builder.source.shape(node.outputs[0]))
        builder.emit(node, code, tuple(_operand(builder, node, name, rank) for name in node.inputs))

    return convert


def _operand(builder: Builder, node: Node, name: str, rank: int) -> int:
    if not builder.is_constant(name):
        if len(builder.source.shape(name)) != rank or name in builder.flattened:
            raise unsupported(node, "joins values of different numbers of axes")
        return builder.number(name)
    data = builder.data(name)
    if rank == 4 and data.ndim > 0:
        data = data.reshape((1,) * (4 - data.ndim) + data.shape).transpose(TO_LAST)
    return builder.constant(name, data)


def _activation(code: str, forced: Quantisation | None = None) -> Conversion:
    def convert(builder: Builder, node: Node) -> None:
        builder.emit(node, code, (builder.number(node.inputs[0]),), quantisation=forced)

    return convert


def _clip(builder: Builder, node: Node) -> None:
    limits = [float(builder.data(name)) if name else math.nan for name in node.inputs[1:3]]
    if limits != [0.0, 6.0]:
        raise unsupported(node, f"limits values to {limits}, not to [0, 6]")
    builder.emit(node, "RELU6", (builder.number(node.inputs[0]),))


def _softmax(builder: Builder, node: Node) -> None:
    rank = len(builder.source.shape(node.inputs[0]))
    if node.attributes.get("axis", -1) % rank != rank - 1 or rank == 4:
        raise unsupported(node, "runs over another axis than the last")
    inputs = (builder.number(node.inputs[0]),)
    builder.emit(node, "SOFTMAX", inputs, options={"beta": 1.0}, quantisation=Quantisation((1 / 256,), (-128,)))


def _concat(builder: Builder, node: Node) -> None:
    rank = len(builder.source.shape(node.outputs[0]))
    axis = node.attributes["axis"] % rank
    wanted = builder.stored(node, node.outputs[0])
    numbers = [_operand(builder, node, name, rank) for name in node.inputs]
    if wanted is not None:  # its kernels copy: all scales must be one
        numbers = [builder.requantised(n, wanted, f"{node.name}/{i}") for i, n in enumerate(numbers)]
    builder.emit(node, "CONCATENATION", tuple(numbers), options={"axis": TO_LAST.index(axis) if rank == 4 else axis})


def _reshape(builder: Builder, node: Node) -> None:
    source, target = builder.source.shape(node.inputs[0]), builder.source.shape(node.outputs[0])
    number = builder.number(node.inputs[0])
    if len(source) == 4 and math.prod(source[2:]) > 1 and source[1] > 1:
        if len(target) == 2 and target[0] == source[0] and _feeds_linear_layers(builder, node.outputs[0]):
            builder.flattened[node.outputs[0]] = (source[2], source[3], source[1])
        else:
            number = _transposed(builder, node, number, TO_FIRST)
    stored = target
    if len(target) == 4:
        if math.prod(target[2:]) > 1 and target[1] > 1:
            raise unsupported(node, "makes images of several channels")
        stored = tuple(target[a] for a in TO_LAST)
    shape = builder.integers(f"{node.name}/shape", stored)
    builder.emit(node, "RESHAPE", (number, shape), like=number)


def _feeds_linear_layers(builder: Builder, name: str) -> bool:
    reader = builder.source.reader(name)
    return reader is not None and reader.operator in ("Gemm", "MatMul") and builder.is_constant(reader.inputs[1])


def _transposed(builder: Builder, node: Node, number: int, axes: Sequence[int]) -> int:
    given = builder.graph.tensors[number]
    result = replace(given, name=f"{node.name}/transposed", shape=tuple(given.shape[a] for a in axes))
    return builder.intermediate("TRANSPOSE", (number, builder.integers(f"{node.name}/axes", axes)), result)


def _identity(builder: Builder, node: Node) -> None:
    builder.alias(node.outputs[0], builder.number(node.inputs[0]))


def _mean(builder: Builder, node: Node) -> None:
    rank = len(builder.source.shape(node.inputs[0]))
    if node.operator == "GlobalAveragePool":
        axes, keep = (2, 3), True
    else:
        named = builder.data(node.optional(1)) if node.optional(1) else node.attributes.get("axes", ())
        axes, keep = tuple(int(a) % rank for a in named), bool(node.attributes.get("keepdims", 1))
    if rank != 4 or sorted(axes) != [2, 3]:
        raise unsupported(node, f"runs over the axes {axes}, not over height and width")
    inputs = (builder.number(node.inputs[0]), builder.integers(f"{node.name}/axes", (1, 2)))
    builder.emit(node, "MEAN", inputs, options={"keep_dims": keep})


def _pad(builder: Builder, node: Node) -> None:
    if node.attributes.get("mode", b"constant") != b"constant" or node.optional(3):
        raise unsupported(node, "pads otherwise than with a constant around all axes")
    value = float(builder.data(node.optional(2))) if node.optional(2) else 0.0
    amounts = builder.data(node.inputs[1]).astype(int)
    rank = len(amounts) // 2
    pairs = np.stack([amounts[:rank], amounts[rank:]], axis=1)
    if value != 0 or (amounts < 0).any():
        raise unsupported(node, f"pads with {value} by {amounts.tolist()}")
    number = builder.number(node.inputs[0])
    paddings = builder.integers(f"{node.name}/paddings", pairs[list(TO_LAST)] if rank == 4 else pairs)
    builder.emit(node, "PAD", (number, paddings), like=number)


def padded(builder: Builder, node: Node, number: int, window: Window, *, lowest: bool = False) -> tuple[int, int]:
    """Return an image padded as ``window`` needs, and the padding that is left to the operator itself."""
    if not any(window.pads):
        return number, VALID
    given = builder.graph.tensors[number]
    _, height, width, _ = given.shape
    if window.pads == window.same_pads(height, width):
        return number, SAME
    top, left, bottom, right = window.pads
    shape = (given.shape[0], height + top + bottom, width + left + right, given.shape[3])
    inputs = (number, builder.integers(f"{node.name}/paddings", ((0, 0), (top, bottom), (left, right), (0, 0))))
    code = "PAD"
    if lowest:
        code, value = "PADV2", np.full((1,), -128, np.int8) if given.type == "int8" else np.full((1,), -3e38, "float32")
        inputs += (builder.graph.constant(f"{node.name}/lowest", value, given.quantisation),)
    return builder.intermediate(code, inputs, replace(given, name=f"{node.name}/padded", shape=shape)), VALID


class Window:
    """The geometry of a convolution or pool over images."""

    def __init__(self, node: Node, size: Sequence[int]) -> None:
        if len(size) != 2:
            raise unsupported(node, f"has {len(size)} spatial axes, not 2")
        if node.attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or node.attributes.get("ceil_mode"):
            raise unsupported(node, "pads by a rule")
        self.size = tuple(size)
        self.strides = tuple(node.attributes.get("strides", (1, 1)))
        self.dilations = tuple(node.attributes.get("dilations", (1, 1)))
        self.pads = tuple(node.attributes.get("pads", (0, 0, 0, 0)))

    def same_pads(self, height: int, width: int) -> tuple[int, ...]:
        """Return the pads of TensorFlow Lite's ``SAME`` for an image: top, left, bottom, right."""
        totals = []
        for length, size, stride, dilation in zip(
            (height, width), self.size, self.strides, self.dilations, strict=True
        ):
            reach = (size - 1) * dilation + 1
            totals.append(max((math.ceil(length / stride) - 1) * stride + reach - length, 0))
        return (totals[0] // 2, totals[1] // 2, totals[0] - totals[0] // 2, totals[1] - totals[1] // 2)

    def options(self, padding: int) -> dict[str, int]:
        """Return the options that convolutions and pools share."""
        return {"padding": padding, "stride_h": self.strides[0], "stride_w": self.strides[1]}


def fused(builder: Builder, node: Node) -> tuple[str, int]:
    """Return the output and the activation of an operator, with the activation that alone reads it joined to it.

    A quantised convolution has none left: what lies below the stored range is cut anyway.
    """
    output = node.outputs[0]
    reader = builder.source.reader(output)
    if builder.source.quantisation(output) is not None or reader is None:
        return output, 0
    if reader.operator == "Relu":
        return reader.outputs[0], ACTIVATIONS["relu"]
    if reader.operator == "Clip" and [float(builder.data(n)) if n else None for n in reader.inputs[1:3]] == [0.0, 6.0]:
        return reader.outputs[0], ACTIVATIONS["relu6"]
    return output, 0


_ENTRIES: dict[str, Conversion] = {
    "Add": _elementwise("ADD"),
    "Mul": _elementwise("MUL"),
    "Sub": _elementwise("SUB"),
    "Relu": _activation("RELU"),
    "Clip": _clip,
    "Sigmoid": _activation("LOGISTIC", Quantisation((1 / 256,), (-128,))),
    "Tanh": _activation("TANH", Quantisation((1 / 128,), (0,))),
    "Softmax": _softmax,
    "Concat": _concat,
    "Flatten": _reshape,
    "Reshape": _reshape,
    "Squeeze": _reshape,
    "Unsqueeze": _reshape,
    "Identity": _identity,
    "Dropout": _identity,
    "GlobalAveragePool": _mean,
    "ReduceMean": _mean,
    "Pad": _pad,
}
for _name, _conversion in _ENTRIES.items():
    CONVERSIONS.add(_name, _conversion)
