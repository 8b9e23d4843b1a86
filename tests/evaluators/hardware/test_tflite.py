from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from torch import nn

from espalier.errors import EvaluationError
from espalier.evaluators.hardware.onnxruntime_session import open_session
from espalier.evaluators.hardware.runtimes import Network, runtime_called
from espalier.evaluators.hardware.tflite.convert import tflite_file, tflite_graph
from espalier.evaluators.hardware.tflite.layout import dequantised, quantised
from espalier.evaluators.onnx.onnx_export import export_onnx
from espalier.evaluators.onnx.quantisation import optimised, quantise_for_timing
from espalier.examples.cifar10_networks import ResNet8
from espalier.testing.cost_models import chain

IMAGE = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
HAS_LITERT = importlib.util.find_spec("ai_edge_litert") is not None
needs_litert = pytest.mark.skipif(not HAS_LITERT, reason="importlib.util.find_spec('ai_edge_litert') is None")


class Assorted(nn.Module):
    """Odd pads, groups, a dilated and a depthwise convolution, a gate, a concatenation, pools, a flattened image."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.b = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.c = nn.Conv2d(16, 12, 5, padding=2, bias=False)
        self.d = nn.Conv2d(12, 24, 3, padding=2, dilation=2, groups=12)
        self.f, self.g = nn.Linear(24 * 4 * 4, 20), nn.Linear(20, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.max_pool2d(torch.relu(self.a(x)), 3, 2, 1)
        x = torch.cat([x, torch.sigmoid(self.b(x)) * x], 1)
        x = nn.functional.relu6(self.d(torch.relu(self.c(x))))
        x = nn.functional.avg_pool2d(x, 3, 2, 1)
        return torch.softmax(self.g(torch.relu(self.f(x.flatten(1)))), 1)


NETWORKS = {"resnet8": ResNet8, "assorted": Assorted, "chain": lambda: chain(12)}


@needs_litert
@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_computes_what_pytorch_computes(name: str) -> None:
    torch.manual_seed(0)
    model = NETWORKS[name]().eval()
    runtime = runtime_called("litert")
    (found,) = runtime.arrays(runtime.prepare(Network(model, IMAGE), threads=1)())
    with torch.no_grad():
        np.testing.assert_allclose(found, model(IMAGE).numpy(), atol=1e-5)


@needs_litert
@pytest.mark.parametrize("name", NETWORKS)
def test_an_int8_file_computes_what_the_onnx_file_computes(name: str) -> None:
    torch.manual_seed(0)
    onnx = quantise_for_timing(NETWORKS[name]().eval(), IMAGE)
    runtime = runtime_called("litert")
    (found,) = runtime.arrays(runtime.prepare(Network(None, IMAGE, onnx, "int8"), threads=1)())
    (expected,) = open_session(onnx, threads=1).run(None, {"input": IMAGE.numpy()})
    step = tflite_graph(onnx)
    scale = step.tensors[step.outputs[0]].quantisation
    assert scale is not None
    assert np.abs(found - expected).max() <= 1.01 * scale.scale[0]  # one step of the output, where rounding differs


def test_weights_scales_and_zero_points_are_the_onnx_files() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, 3)
    graph = tflite_graph(quantise_for_timing(layer, torch.rand(1, 4, 8, 8)))
    (operator,) = graph.operators
    image, weights, bias = (graph.tensors[n] for n in operator.inputs)
    output = graph.tensors[operator.outputs[0]]
    assert (operator.code, image.shape, output.shape) == ("CONV_2D", (1, 8, 8, 4), (1, 6, 6, 6))
    assert (image.type, weights.type, bias.type, output.type) == ("int8", "int8", "int32", "int8")
    assert weights.data is not None
    assert weights.quantisation is not None
    assert len(weights.quantisation.scale) == 6
    scales = np.array(weights.quantisation.scale).reshape(6, 1, 1, 1)
    real = (weights.data * scales).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(real, layer.weight.detach().numpy(), atol=0.51 * scales.max())
    assert image.quantisation is not None
    assert -128 <= image.quantisation.zero_point[0] <= 127


def test_an_image_is_padded_as_pytorch_pads() -> None:
    def codes(layer: nn.Module) -> list[str]:
        return [o.code for o in tflite_graph(optimised(export_onnx(layer, IMAGE))).operators]

    assert codes(nn.Conv2d(3, 4, 3, padding=1)) == ["CONV_2D"]
    assert codes(nn.Conv2d(3, 4, 3, padding=1, stride=2)) == ["PAD", "CONV_2D"]  # SAME pads right and below alone
    assert codes(nn.MaxPool2d(3, 2, 1)) == ["PADV2", "MAX_POOL_2D"]
    assert codes(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())) == ["CONV_2D"]


def test_a_file_names_its_format() -> None:
    assert tflite_file(optimised(export_onnx(chain(8), IMAGE)))[4:8] == b"TFL3"


def test_the_layout_there_and_back() -> None:
    image = np.random.default_rng(0).normal(size=(1, 3, 4, 5)).astype(np.float32)
    assert quantised(image, 0.0, 0).shape == (1, 4, 5, 3)
    np.testing.assert_array_equal(dequantised(quantised(image, 0.0, 0), 0.0, 0), image)
    found = dequantised(quantised(image, 0.05, -3), 0.05, -3)
    np.testing.assert_allclose(found, image, atol=0.026)


class Odd(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.erf(x)


def test_an_operator_that_is_missing_is_named() -> None:
    with pytest.raises(EvaluationError, match=r"Erf .*expected one of Add"):
        tflite_file(optimised(export_onnx(Odd(), IMAGE)))


def test_an_operator_that_stays_at_fp32_is_named() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh())
    with pytest.raises(EvaluationError, match=r"Tanh .*left at fp32"):
        tflite_file(quantise_for_timing(network, IMAGE))
