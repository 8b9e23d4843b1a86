"""What a dropped branch leaves in exported files goes: zeros that are added, and a ReLU behind another."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from espalier import Policy, prune, trace
from espalier.evaluators.hardware.onnxruntime_session import open_session
from espalier.evaluators.onnx.onnx_export import export_onnx
from espalier.evaluators.onnx.zero_folding import fold_zeros
from espalier.spaces.policy import Choice

IMAGE = torch.randn(1, 8, 12, 12, generator=torch.Generator().manual_seed(0))
DROPPED = Choice(type="block", criterion=None, kept=0, of=1)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Conv2d(8, 16, 3, padding=1), nn.Conv2d(16, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.outer(torch.relu(self.inner(x))) + x)


def residual(blocks: int = 2) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), *(Block() for _ in range(blocks))).eval()


def operators(file: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(file).graph.node]


def run(file: bytes, x: torch.Tensor = IMAGE) -> np.ndarray:
    session = open_session(file, threads=1)
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


@pytest.mark.parametrize("dropped", [("2.inner",), ("3.inner",), ("2.inner", "3.inner")])
def test_dropped_branches_leave_nothing_in_the_file(dropped):
    model = residual()
    graph = trace(model, IMAGE)
    policy = Policy.of(graph, dict.fromkeys(dropped, DROPPED))
    small = prune(model, graph, policy)
    file = export_onnx(small, IMAGE)
    assert operators(file).count("Add") == 2 - len(dropped)
    assert not {"Constant", "ConstantOfShape", "Expand"} & set(operators(file))
    with torch.no_grad():
        np.testing.assert_allclose(run(file), small(IMAGE).numpy(), rtol=1e-5, atol=1e-6)
    weights = sum(4 * p.numel() for p in small.parameters())
    assert len(file) < weights + 3000  # no zeros as large as an activation


def test_no_output_is_renamed():
    class Ends(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.zeros(1, 8, 12, 12)

    file = export_onnx(nn.Sequential(nn.Conv2d(8, 8, 1), Ends()).eval(), IMAGE)
    assert operators(file)[-1] == "Add"
    assert onnx.load_from_string(file).graph.output[0].name == "output"


def graph_of(zeros: np.ndarray, shape: tuple[int, ...]) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Add", ["z", "r"], ["s"]),
        helper.make_node("Sigmoid", ["s"], ["y"]),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    found = helper.make_tensor_value_info("y", TensorProto.FLOAT, np.broadcast_shapes(zeros.shape, shape))
    graph = helper.make_graph(nodes, "g", [given], [found], [numpy_helper.from_array(zeros, "z")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


@pytest.mark.parametrize(
    ("zeros", "shape", "goes"),
    [
        (np.zeros((1, 4), np.float32), (1, 4), True),
        (np.zeros((4,), np.float32), (3, 4), True),
        (np.zeros((3, 4), np.float32), (1, 4), False),  # the sum is larger than x
        (np.full((1, 4), 1e-8, np.float32), (1, 4), False),
    ],
)
def test_only_zeros_that_change_nothing_go(zeros, shape, goes):
    model = graph_of(zeros, shape)
    assert fold_zeros(model) == int(goes)
    onnx.checker.check_model(model)
    assert [n.op_type for n in model.graph.node] == (["Relu", "Sigmoid"] if goes else ["Relu", "Add", "Sigmoid"])
    assert len(model.graph.initializer) == int(not goes)
