"""Zero padding before convolutions goes from exported files, and nothing else about them changes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from torch import nn

from espalier import Policy, prune, trace
from espalier.evaluators.hardware.onnxruntime_session import open_session
from espalier.evaluators.onnx import onnx_export
from espalier.evaluators.onnx.onnx_export import export_onnx
from espalier.evaluators.onnx.pad_folding import fold_pads
from espalier.evaluators.onnx.quantisation import quantise
from espalier.evaluators.task.task import Task

IMAGE = torch.randn(1, 8, 11, 9, generator=torch.Generator().manual_seed(0))


class Padded(nn.Module):
    """A stem and a convolution behind the padding of ``pad``."""

    def __init__(self, pad, **options) -> None:
        super().__init__()
        self.stem = nn.Conv2d(8, 16, 1)
        self.behind = nn.Conv2d(16, 16, 3, **options)
        self.pad = pad

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.behind(self.pad(F.relu(self.stem(x))))


def network(build) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build().eval()


def operators(file: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(file).graph.node]


def run(file: bytes, x: torch.Tensor = IMAGE) -> np.ndarray:
    session = open_session(file, threads=1)
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


def assert_equal(file: bytes, model: nn.Module, x: torch.Tensor = IMAGE) -> None:
    onnx.checker.check_model(onnx.load_from_string(file))
    with torch.no_grad():
        np.testing.assert_allclose(run(file, x), model(x).numpy(), atol=1e-5)


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
@pytest.mark.parametrize(
    ("pad", "options"),
    [
        (lambda x: F.pad(x, (0, 1, 0, 1)), {"stride": 2}),
        (lambda x: F.pad(x, (3, 0, 2, 1)), {"padding": (1, 2)}),
        (lambda x: F.pad(x, (1, 1)), {"dilation": 2}),
        (lambda x: F.pad(F.pad(x, (0, 1)), (2, 0, 0, 3)), {"groups": 4}),
        (nn.ZeroPad2d((1, 2, 0, 4)), {"groups": 16, "padding": 1}),
    ],
)
def test_zeros_at_the_borders_go_into_the_convolution(pad, options, exporter, monkeypatch):
    monkeypatch.setattr(onnx_export, "_has_torchscript_exporter", lambda: exporter == "torchscript")
    model = network(lambda: Padded(pad, **options))
    file = export_onnx(model, IMAGE)
    assert operators(file) == ["Conv", "Relu", "Conv"]
    assert_equal(file, model)


@pytest.mark.parametrize(
    "pad",
    [
        lambda x: F.pad(x, (1, 1, 1, 1), value=0.5),
        lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
        lambda x: F.pad(x, (1, 1, 1, 1), mode="replicate"),
        lambda x: F.pad(x, (-1, 1, 0, 1)),
        lambda x: F.pad(x[:, :12], (0, 1, 0, 1, 2, 2)),
    ],
)
def test_any_other_padding_stays(pad):
    model = network(lambda: Padded(pad))
    file = export_onnx(model, IMAGE)
    assert "Pad" in operators(file)
    assert_equal(file, model)


class Shared(nn.Module):
    def __init__(self, also: str) -> None:
        super().__init__()
        self.also = also
        self.a, self.b = nn.Conv2d(8, 4, 3), nn.Conv2d(8, 4, 3, padding=1, stride=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padded = F.pad(x, (0, 2, 1, 1))
        if self.also == "convolution":
            return self.a(padded) + self.b(padded)[:, :, 1:-1, 1:-1]
        return self.a(padded) + (F.max_pool2d(padded, 3, 1)[:, :4] if self.also == "pooling" else 0)


@pytest.mark.parametrize(("also", "pads"), [("convolution", 0), ("pooling", 1), ("nothing", 0)])
def test_padding_goes_only_where_convolutions_alone_read_it(also, pads):
    model = network(lambda: Shared(also))
    file = export_onnx(model, IMAGE)
    assert operators(file).count("Pad") == pads
    assert_equal(file, model)


def test_padding_that_is_an_output_too_stays():
    class Output(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(8, 4, 3)

        def forward(self, x):
            padded = F.pad(x, (1, 1))
            return padded, self.conv(padded)

    assert "Pad" in operators(export_onnx(network(Output), IMAGE))


def test_one_dimension_and_three():
    for conv, shape, amounts in ((nn.Conv1d, (1, 4, 9), (2, 0)), (nn.Conv3d, (1, 4, 5, 6, 7), (0, 1, 1, 0, 2, 1))):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        model = network(lambda conv=conv, amounts=amounts: nn.Sequential(nn.ConstantPad1d(amounts, 0), conv(4, 2, 3)))
        file = export_onnx(model, x)
        assert operators(file) == ["Conv"]
        assert_equal(file, model, x)


@pytest.mark.parametrize("sparsity", [0.5, 0.75])
def test_pruned_networks_and_int8(sparsity):
    dense = network(lambda: Padded(lambda x: F.pad(x, (0, 1, 0, 1)), stride=2))
    graph = trace(dense, IMAGE)
    small = prune(dense, graph, Policy.uniform(graph, sparsity))
    file = export_onnx(small, IMAGE)
    assert "Pad" not in operators(file)
    assert_equal(file, small)
    x = torch.randn(32, 8, 11, 9, generator=torch.Generator().manual_seed(1))
    task = Task(name="padded", model=lambda: dense, example_input=IMAGE, train=(x, x), validation=(x, x))
    int8 = quantise(small, task)
    assert not {"Pad", "Slice", "Concat"} & set(operators(int8))
    exact = small(IMAGE).detach().numpy()
    assert np.abs(run(int8) - exact).max() < 0.05 * np.abs(exact).max()


def test_a_graph_without_pads_stays_as_it_is():
    model = onnx.load_from_string(export_onnx(network(lambda: Padded(nn.Identity())), IMAGE))
    before = model.SerializeToString()
    assert fold_pads(model) == 0
    assert model.SerializeToString() == before


def graph_with_pad(amounts: str, **conv) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Pad", ["x", amounts], ["padded"]),
        helper.make_node("Conv", ["padded", "w"], ["y"], **conv),
    ]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 4])
    given = helper.make_tensor_value_info("given", TensorProto.INT64, [8])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    stored = [
        helper.make_tensor("w", TensorProto.FLOAT, [1, 1, 3, 3], [1.0] * 9),
        helper.make_tensor("stored", TensorProto.INT64, [8], [0, 0, 1, 0, 0, 0, 0, 1]),
    ]
    return helper.make_model(helper.make_graph(nodes, "g", [image, given], [result], stored))


def test_amounts_that_an_input_decides_stay():
    assert fold_pads(graph_with_pad("given")) == 0
    assert fold_pads(graph_with_pad("stored", auto_pad="SAME_UPPER")) == 0
    folded = graph_with_pad("stored")
    assert fold_pads(folded) == 1
    assert [t.name for t in folded.graph.initializer] == ["w"]
    assert list(folded.graph.node[0].attribute[0].ints) == [1, 0, 0, 1]
