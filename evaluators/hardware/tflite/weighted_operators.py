"""Convolutions, linear layers and pools in TensorFlow Lite."""

from __future__ import annotations

import numpy as np

from .builder import Builder
from .onnx_graph import Node
from .operators import CONVERSIONS, Window, fused, padded, unsupported
from .schema import SAME, VALID, Quantisation, Tensor


def _conv(builder: Builder, node: Node) -> None:
    weights = builder.data(node.inputs[1])
    window = Window(node, weights.shape[2:])
    channels, groups = builder.source.shape(node.inputs[0])[1], node.attributes.get("group", 1)
    number, padding = padded(builder, node, builder.number(node.inputs[0]), window)
    output, activation = fused(builder, node)
    options = window.options(padding) | {"activation": activation}
    options |= {"dilation_h_factor": window.dilations[0], "dilation_w_factor": window.dilations[1]}
    if groups == channels and groups > 1:
        code, stored, axis = "DEPTHWISE_CONV_2D", weights.transpose(1, 2, 3, 0), 3
        options["depth_multiplier"] = weights.shape[0] // groups
    else:
        code, stored, axis = "CONV_2D", weights.transpose(0, 2, 3, 1), 0
    inputs = (number, builder.constant(node.inputs[1], stored, axis=axis), _bias(builder, node, len(weights)))
    builder.emit(node, code, inputs, output=output, options=options)


def _linear(builder: Builder, node: Node) -> None:
    if not builder.is_constant(node.inputs[1]) or any(node.attributes.get(n, 1.0) != 1.0 for n in ("alpha", "beta")):
        raise unsupported(node, "multiplies two computed values, or scales")
    if node.attributes.get("transA"):
        raise unsupported(node, "transposes its input")
    weights = builder.data(node.inputs[1])
    if weights.ndim != 2:
        raise unsupported(node, f"has weights of {weights.ndim} axes")
    if not (node.operator == "Gemm" and node.attributes.get("transB")):
        weights = weights.T
    rank = len(builder.source.shape(node.inputs[0]))
    if rank == 4:
        raise unsupported(node, "runs over the last axis of images")
    if node.inputs[0] in builder.flattened:
        height, width, channels = builder.flattened[node.inputs[0]]
        images = weights.reshape(-1, channels, height, width)
        weights = images.transpose(0, 2, 3, 1).reshape(weights.shape)
    output, activation = fused(builder, node)
    inputs = (
        builder.number(node.inputs[0]),
        builder.constant(node.inputs[1], weights, axis=0),
        _bias(builder, node, len(weights)),
    )
    options = {"activation": activation, "keep_num_dims": rank > 2}
    builder.emit(node, "FULLY_CONNECTED", inputs, output=output, options=options)


def _bias(builder: Builder, node: Node, channels: int) -> int:
    """Return the bias; zeros where there is none, as not every reader takes an operator without."""
    bias = node.optional(2)
    if bias:
        data = builder.data(bias)
        return builder.constant(bias, np.broadcast_to(data.reshape(-1), (channels,)), axis=0)
    name = f"{node.name}/no_bias"
    quantised = builder.source.quantisation(node.inputs[0])
    if quantised is None:
        return builder.graph.constant(name, np.zeros(channels, np.float32))
    weights = builder.source.constant(node.inputs[1])
    scales = weights.quantisation.scale if weights is not None and weights.quantisation is not None else (1.0,)
    product = Quantisation(tuple(quantised.scale[0] * s for s in scales), (0,) * len(scales))
    return builder.graph.constant(name, np.zeros(channels, np.int32), product)


def _max_pool(builder: Builder, node: Node) -> None:
    window = Window(node, node.attributes["kernel_shape"])
    if window.dilations != (1, 1):
        raise unsupported(node, "is dilated")
    number, padding = padded(builder, node, builder.number(node.inputs[0]), window, lowest=True)
    builder.emit(node, "MAX_POOL_2D", (number,), options=_pool_options(window, padding), like=number)


def _average_pool(builder: Builder, node: Node) -> None:
    window = Window(node, node.attributes["kernel_shape"])
    number = builder.number(node.inputs[0])
    _, height, width, _ = builder.graph.tensors[number].shape
    if window.size == (height, width) and not any(window.pads):
        # Over the whole image it is a mean, whose kernels allow for another scale of the output.
        axes = builder.integers(f"{node.name}/axes", (1, 2))
        builder.emit(node, "MEAN", (number, axes), options={"keep_dims": True})
        return
    if node.attributes.get("count_include_pad") or not any(window.pads):
        number, padding = _padded_with_zeros(builder, node, number, window)
    elif window.pads == window.same_pads(height, width):
        padding = SAME
    else:
        raise unsupported(node, "leaves its padding out of the mean")
    builder.emit(node, "AVERAGE_POOL_2D", (number,), options=_pool_options(window, padding), like=number)


def _padded_with_zeros(builder: Builder, node: Node, number: int, window: Window) -> tuple[int, int]:
    """Return the image with zeros around it: ``SAME`` would leave them out of the mean."""
    if not any(window.pads):
        return number, VALID
    given: Tensor = builder.graph.tensors[number]
    top, left, bottom, right = window.pads
    shape = (given.shape[0], given.shape[1] + top + bottom, given.shape[2] + left + right, given.shape[3])
    paddings = builder.integers(f"{node.name}/paddings", ((0, 0), (top, bottom), (left, right), (0, 0)))
    result = Tensor(f"{node.name}/padded", shape, given.type, given.quantisation)
    return builder.intermediate("PAD", (number, paddings), result), VALID


def _pool_options(window: Window, padding: int) -> dict[str, int]:
    return window.options(padding) | {"filter_height": window.size[0], "filter_width": window.size[1]}


for _name, _conversion in {
    "Conv": _conv,
    "Gemm": _linear,
    "MatMul": _linear,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
}.items():
    CONVERSIONS.add(_name, _conversion)
