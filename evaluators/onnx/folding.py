"""Folding BatchNorm into the linear layer before it, in an exported graph.

The exporter folds it into convolutions, and ONNX Runtime into matrix products without bias; behind a linear layer with
a bias it would stay, and part the layer from its activation, which an int8 kernel computes at once.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import numpy_helper


def fold_batch_norm(model: onnx.ModelProto) -> None:
    """Fold each BatchNormalization that alone reads a Gemm with constant weights into that Gemm, in place."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    uses = Counter(name for node in graph.node for name in node.input) + Counter(o.name for o in graph.output)
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        gemm = producers.get(norm.input[0])
        if gemm is None or not _foldable(gemm, norm, constants, uses):
            continue
        _fold(gemm, norm, constants)
        gemm.output[0] = norm.output[0]
        producers[norm.output[0]] = gemm
        graph.node.remove(norm)


def _foldable(
    gemm: onnx.NodeProto, norm: onnx.NodeProto, constants: dict[str, onnx.TensorProto], uses: Counter[str]
) -> bool:
    own = gemm.input[1:]
    return (
        gemm.op_type == "Gemm"
        and len(own) == 2
        and all(name in constants and uses[name] == 1 for name in own)
        and all(name in constants for name in norm.input[1:])
        and uses[gemm.output[0]] == 1
        and _attribute(gemm, "alpha", 1.0) == _attribute(gemm, "beta", 1.0) == 1.0
    )


def _fold(gemm: onnx.NodeProto, norm: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> None:
    weight, bias = (constants[name] for name in gemm.input[1:])
    gamma, beta, mean, variance = (numpy_helper.to_array(constants[n]).astype(np.float64) for n in norm.input[1:])
    scale = gamma / np.sqrt(variance + _attribute(norm, "epsilon", 1e-5))
    rows = _attribute(gemm, "transB", 0) == 1
    folded = numpy_helper.to_array(weight) * (scale[:, None] if rows else scale)
    shifted = (numpy_helper.to_array(bias) - mean) * scale + beta
    for tensor, values in ((weight, folded), (bias, shifted)):
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))


def _attribute(node: onnx.NodeProto, name: str, default: float) -> float:
    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)
