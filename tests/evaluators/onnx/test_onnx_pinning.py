"""Files whose axes vary are held to one size, whatever stands between a shape and what is computed of it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from espalier.evaluators.hardware.onnxruntime_session import open_session
from espalier.evaluators.onnx.onnx_graph import Constants
from espalier.evaluators.onnx.onnx_pinning import is_fixed, pinned

OPSET = 17


def _file(*middle: onnx.NodeProto, result: str, opset: int = OPSET) -> onnx.ModelProto:
    """Return a file that adds to its input what ``middle`` makes of a zero as long as the batch."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        *middle,
        helper.make_node("Add", ["x", result], ["y"]),
    ]
    constants = [
        numpy_helper.from_array(np.array(0.5, np.float32), "scale"),
        numpy_helper.from_array(np.array(3, np.uint8), "zero"),
    ]
    graph = helper.make_graph(
        nodes, "states", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])], constants,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _run(file: bytes, x: np.ndarray) -> np.ndarray:
    session = open_session(file, threads=1)
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def test_what_follows_from_shapes_alone_is_computed() -> None:
    file = pinned(_file(result="zeros").SerializeToString(), torch.zeros(3, 2))
    model = onnx.load_from_string(file)
    assert is_fixed(model)
    assert "Shape" not in {node.op_type for node in model.graph.node}
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert np.array_equal(_run(file, x), x)


@pytest.mark.parametrize("opset", [13, 17, 19, 21])
def test_a_state_made_of_a_shape_can_be_quantised(opset: int) -> None:
    """An LSTM's first state is one; onnx's reference knows ``DequantizeLinear`` from version 19 on."""
    middle = (
        helper.make_node("QuantizeLinear", ["zeros", "scale", "zero"], ["codes"]),
        helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["state"]),
    )
    file = pinned(_file(*middle, result="state", opset=opset).SerializeToString(), torch.zeros(3, 2))
    kinds = [node.op_type for node in onnx.load_from_string(file).graph.node]
    assert kinds.count("QuantizeLinear") == kinds.count("DequantizeLinear") == 1
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert np.array_equal(_run(file, x), x)


def test_constants_that_cannot_be_computed_here_are_unknown() -> None:
    nodes = [helper.make_node("DequantizeLinear", ["zero", "scale", "zero"], ["state"])]
    model = _file(*nodes, result="state")
    assert Constants(model).get("state") is None
    assert Constants(model).get("scale") == np.float32(0.5)
