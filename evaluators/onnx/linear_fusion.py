"""Writing a linear layer over sequences as one Gemm, in an exported graph whose sizes vary.

ONNX Runtime does so by itself where every size is known. As a product and an addition apart, an int8 layer would round
its sums before the bias is added, and take two kernels.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import numpy_helper


def fuse_linear(model: onnx.ModelProto) -> int:
    """Write MatMul and Add of constant weights as Reshape, Gemm and Reshape, in place, and return how many.

    The shapes of what is multiplied must have been inferred; matrices, which ONNX Runtime fuses, are left alone.
    """
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    uses = Counter(name for node in graph.node for name in node.input) + Counter(o.name for o in graph.output)
    readers = {name: node for node in graph.node for name in node.input}
    ranks = {v.name: v.type.tensor_type.shape for v in (*graph.value_info, *graph.input)}
    nodes: list[onnx.NodeProto] = []
    fused: set[str] = set()
    for node in graph.node:
        addition = _addition(node, stored, uses, readers)
        shape = ranks.get(node.input[0]) if node.input else None
        if addition is None or shape is None or len(shape.dim) < 3:
            if not set(node.output) & fused:
                nodes.append(node)
            continue
        nodes += _gemm(graph, node, addition, shape, stored)
        fused |= set(addition.output)
    del graph.node[:]
    graph.node.extend(nodes)
    return len(fused)


def _addition(
    node: onnx.NodeProto, stored: dict[str, onnx.TensorProto], uses: Counter[str], readers: dict[str, onnx.NodeProto]
) -> onnx.NodeProto | None:
    """Return the Add of a bias behind a MatMul with weights; ``None`` where there is none to fuse."""
    if node.op_type != "MatMul" or node.input[1] not in stored or len(stored[node.input[1]].dims) != 2:
        return None
    reader = readers.get(node.output[0])
    if reader is None or reader.op_type != "Add" or uses[node.output[0]] != 1:
        return None
    bias = _other(reader, node.output[0])
    if bias not in stored or list(stored[bias].dims) != [stored[node.input[1]].dims[1]]:
        return None
    return reader


def _other(node: onnx.NodeProto, name: str) -> str:
    return next((given for given in node.input if given != name), "")


def _gemm(
    graph: onnx.GraphProto,
    product: onnx.NodeProto,
    addition: onnx.NodeProto,
    shape: onnx.TensorShapeProto,
    stored: dict[str, onnx.TensorProto],
) -> list[onnx.NodeProto]:
    name, (rows, columns) = product.name or product.output[0], stored[product.input[1]].dims
    flat, target = f"{name}/flat", f"{name}/flat_shape"
    graph.initializer.append(_sizes(target, [-1, rows]))
    bias = _other(addition, product.output[0])
    before = onnx.helper.make_node("Reshape", [product.input[0], target], [flat], f"{name}/gemm_input_reshape")
    gemm = onnx.helper.make_node("Gemm", [flat, product.input[1], bias], [f"{name}/gemm"], f"{name}/MatMulAddFusion")
    made, back = _shape_back(graph, product.input[0], name, columns, shape)
    after = onnx.helper.make_node(
        "Reshape", [f"{name}/gemm", back], [addition.output[0]], f"{name}/gemm_output_reshape"
    )
    return [before, gemm, *made, after]


def _shape_back(
    graph: onnx.GraphProto, value: str, name: str, columns: int, shape: onnx.TensorShapeProto
) -> tuple[list[onnx.NodeProto], str]:
    """Return the nodes that compute the result's shape, and its name; no node where one size at most is unknown."""
    target = f"{name}/back_shape"
    sizes = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in shape.dim][:-1]
    if sizes.count(-1) <= 1:
        graph.initializer.append(_sizes(target, [*sizes, columns]))
        return [], target
    last = f"{name}/columns"
    graph.initializer.append(_sizes(last, [columns]))
    leading = onnx.helper.make_node("Shape", [value], [f"{name}/leading"], f"{name}/leading_shape", end=-1)
    joined = onnx.helper.make_node("Concat", [f"{name}/leading", last], [target], f"{name}/joined_shape", axis=0)
    return [leading, joined], target


def _sizes(name: str, values: list[int]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)
