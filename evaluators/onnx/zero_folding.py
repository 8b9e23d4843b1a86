"""Folding what a dropped branch leaves in an exported graph: zeros that are added, and a ReLU behind a ReLU.

ONNX Runtime adds the zeros, and they are stored in the file, as large as the activation that they are added to.
"""

from __future__ import annotations

import numpy as np
import onnx

from .onnx_graph import Constants, drop_unread, has_bodies, readers_of

_STORED = {"Constant", "ConstantOfShape", "Expand", "Identity"}
"""What zeros come from."""


def fold_zeros(model: onnx.ModelProto, *, sized: onnx.ModelProto | None = None) -> int:
    """Take out Add nodes of zeros, and Relu nodes behind another, in place, and return how many.

    An Add goes where the zeros do not make its other input larger.

    Args:
        model: the graph.
        sized: the same graph at one size, in which zeros are known whose shape follows an input's.
    """
    if has_bodies(model.graph):
        return 0
    own = {node.output[0]: node for node in model.graph.node if node.op_type == "Add"}
    found = [(own.get(node.output[0]), zeros) for node, zeros in _additions_of_zeros(sized or model)]
    folded = sum(_bypass(model.graph, n, _other(n, z)) for n, z in found if n is not None and z in n.input)
    producers = {name: node for node in model.graph.node for name in node.output}
    twice = [n for n in model.graph.node if n.op_type == "Relu" and _is_relu(producers.get(n.input[0]))]
    folded += sum(_bypass(model.graph, node, node.input[0]) for node in twice)
    if folded:
        drop_unread(model.graph)
    return folded


def _other(node: onnx.NodeProto, name: str) -> str:
    return next(given for given in node.input if given != name)


def _is_relu(node: onnx.NodeProto | None) -> bool:
    return node is not None and node.op_type == "Relu"


def _additions_of_zeros(model: onnx.ModelProto) -> list[tuple[onnx.NodeProto, str]]:
    """Return the Add nodes of zeros, each with the name of the zeros."""
    graph = model.graph
    stored = {t.name for t in graph.initializer} | {
        name for node in graph.node if node.op_type in _STORED for name in node.output
    }
    constants = Constants(model)
    candidates = [
        (node, node.input[1 - i], node.input[i], value)
        for node in graph.node
        if node.op_type == "Add"
        for i in (0, 1)
        if node.input[i] in stored and node.input[1 - i] not in stored
        if (value := constants.get(node.input[i])) is not None and not np.any(value)
    ]
    # Shapes are inferred for zeros alone: a Transformer adds a bias in every layer.
    shapes = _shapes(model) if candidates else {}
    return [(node, zeros) for node, kept, zeros, value in candidates if _keeps_shape(value, shapes.get(kept))]


def _keeps_shape(value: np.ndarray, shape: tuple[int, ...] | None) -> bool:
    return shape is not None and np.broadcast_shapes(value.shape, shape) == shape


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return the shapes that are known, by name."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    found = {}
    for value in (*graph.value_info, *graph.input):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            found[value.name] = tuple(d.dim_value for d in dims)
    return found


def _bypass(graph: onnx.GraphProto, node: onnx.NodeProto, kept: str) -> bool:
    """Have all that read ``node`` read ``kept`` instead; false where it is an output of the network."""
    if any(output.name == node.output[0] for output in graph.output):
        return False
    for reader in readers_of(graph)[node.output[0]]:
        reader.input[:] = [kept if name == node.output[0] else name for name in reader.input]
    graph.node.remove(node)
    return True
