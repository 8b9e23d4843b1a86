from __future__ import annotations

import pytest
import torch
from torch import nn

from espalier.errors import EvaluationError, InputError, MissingExtraError
from espalier.evaluators.hardware import vela
from espalier.evaluators.hardware.base import CostModel
from espalier.evaluators.hardware.device import Device, VelaOptions, load_device
from espalier.evaluators.hardware.estimate import candidate_cost_model_for, cost_model_for, estimate
from espalier.evaluators.hardware.tflite.convert import tflite_file
from espalier.evaluators.hardware.vela import compile_network, is_installed
from espalier.evaluators.hardware.vela_model import VelaModel
from espalier.evaluators.onnx.onnx_export import export_onnx
from espalier.evaluators.onnx.quantisation import optimised
from espalier.examples.cifar10_networks import ResNet8
from espalier.testing.cost_models import CostModelContract, chain
from espalier.testing.runtimes import with_zeros

IMAGE = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
needs_vela = pytest.mark.skipif(not is_installed(), reason="importlib.util.find_spec('ethosu.vela') is None")


def u55() -> Device:
    return load_device("ethos-u55-128")


@needs_vela
class TestVela(CostModelContract):
    @pytest.fixture
    def cost_model(self) -> CostModel:
        return VelaModel(u55())


@needs_vela
def test_both_devices_tell_a_resnet8() -> None:
    costs = [estimate(ResNet8(), IMAGE, device=name) for name in ("ethos-u55-128", "ethos-u85-256")]
    assert all(cost.source == "vela" for cost in costs)
    assert all(0.05 < cost.latency_ms < 2 for cost in costs)
    assert costs[1].latency_ms < costs[0].latency_ms  # twice the MACs a cycle at the same clock
    assert all(70_000 < cost.size_bytes < 110_000 for cost in costs)  # 77 thousand weights of one byte, commands
    assert all(40_000 < cost.peak_memory_bytes < 80_000 for cost in costs)
    layers = {layer.layer: layer for layer in costs[0].layers if layer.macs}
    assert {"conv", "b1.conv1", "b3.conv2", "b3.short", "fc"} <= set(layers)


@needs_vela
def test_channels_step_by_eight() -> None:
    device = u55()
    times = {width: VelaModel(device).estimate(chain(width), IMAGE).latency_ms for width in (24, 25, 32)}
    assert times[25] / times[24] > 1 + 0.5 * (times[32] / times[24] - 1)  # most of the step comes with one channel


@needs_vela
def test_zeros_count_where_the_compiler_counts_them() -> None:
    """Weights bound a linear layer: fewer encoded bytes are fewer cycles. They do not bound the convolutions."""
    torch.manual_seed(0)
    linear = nn.Sequential(nn.Linear(640, 256), nn.ReLU(), nn.Linear(256, 640)).eval()
    model, x = VelaModel(u55()), torch.rand(1, 640)
    dense, sparse = (model.estimate(m, x) for m in (linear, with_zeros(linear, "weight")))
    assert sparse.latency_ms < 0.7 * dense.latency_ms
    assert sparse.size_bytes < 0.7 * dense.size_bytes
    assert sparse.dense_size_bytes == dense.dense_size_bytes


@needs_vela
def test_an_fp32_graph_is_an_error_not_a_number() -> None:
    options = u55().vela
    assert options is not None
    with pytest.raises(EvaluationError, match=r"leaves .* operators to the processor"):
        compile_network(tflite_file(optimised(export_onnx(chain(8), IMAGE))), options)


@needs_vela
def test_a_network_that_is_not_int8_throughout_is_an_error() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Tanh()).eval()
    with pytest.raises(EvaluationError, match="Tanh"):
        VelaModel(u55()).estimate(network, IMAGE)


@needs_vela
def test_a_system_that_the_compiler_does_not_know_is_told() -> None:
    options = VelaOptions(accelerator="ethos-u55-128", system_config="No_Such", memory_mode="Shared_Sram")
    device = u55().model_copy(update={"vela": options})
    with pytest.raises(EvaluationError, match="No_Such"):
        VelaModel(device).estimate(chain(8), IMAGE)


def test_candidates_are_told_by_the_stand_in() -> None:
    for name in ("ethos-u55-128", "ethos-u85-256"):
        device = load_device(name)
        assert device.cost_model == "vela"
        assert candidate_cost_model_for(device).source == "roofline"
        fit = device.fit["int8"]
        assert fit.method == "held-out"
        assert fit.held_out >= 10
    assert candidate_cost_model_for(load_device("host")).source == "measured"


def test_without_the_compiler_the_stand_in_answers_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vela, "is_installed", lambda: False)
    with pytest.warns(RuntimeWarning, match=r"roofline.*not installed.*espalier\[ethos-u\]"):
        model = cost_model_for(u55())
    cost = model.estimate(chain(16), IMAGE)
    assert cost.source == "roofline"
    assert cost.latency_error == pytest.approx(u55().fit["int8"].interval_90, abs=0.01)


def test_without_compiler_or_stand_in_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vela, "is_installed", lambda: False)
    device = u55().model_copy(update={"fit": {}})
    with pytest.raises(MissingExtraError, match=r"espalier\[ethos-u\]"):
        cost_model_for(device)


def test_the_cost_model_needs_its_options() -> None:
    text = u55().model_copy(update={"vela": None}).to_yaml()
    with pytest.raises(InputError, match="vela"):
        Device.from_yaml(text)
