from __future__ import annotations

import pytest
import torch
from torch import nn

from espalier.errors import EvaluationError, InputError, UnknownNameError
from espalier.evaluators.hardware.base import CostModel
from espalier.evaluators.hardware.device import load_device
from espalier.evaluators.hardware.estimate import COST_MODELS, cost_model_for, estimate
from espalier.evaluators.hardware.kernels import record_kernels
from espalier.evaluators.hardware.measured import MeasuredModel
from espalier.evaluators.hardware.operations import Work
from espalier.evaluators.hardware.roofline import RooflineModel, tiled_macs
from espalier.evaluators.hardware.speeds import Tile
from espalier.testing.cost_models import CostModelContract, chain

IMAGE = torch.zeros(1, 3, 32, 32)


class TestRaspberryPi4(CostModelContract):
    @pytest.fixture
    def cost_model(self) -> CostModel:
        return RooflineModel(load_device("raspberry-pi-4"))


class TestCortexM4AskedForFp32(CostModelContract):
    @pytest.fixture
    def cost_model(self) -> CostModel:
        return RooflineModel(load_device("cortex-m4"))


class TestCortexM4AskedForInt8(TestCortexM4AskedForFp32):
    precision = "int8"


class TestMeasured(CostModelContract):
    deterministic = False
    profile_tolerance = 1.0  # the machine is shared, and the profiler slows small kernels

    @pytest.fixture
    def cost_model(self) -> CostModel:
        return MeasuredModel(load_device("host"))


class TestMeasuredAtInt8(TestMeasured):
    precision = "int8"


def test_a_roofline_by_hand() -> None:
    device = load_device("raspberry-pi-4")
    speeds = device.speeds["fp32"]
    network = nn.Conv2d(8, 16, 3, padding=1)
    (layer,) = RooflineModel(device).profile(network, torch.zeros(1, 8, 32, 32))
    macs = 1024 * 16 * 72
    moved = 4 * (8 * 1024 + 16 * 1024 + 16 * 72 + 16)
    computing = macs / (speeds.peak_macs_per_s.value * speeds.efficiency.values["conv"])
    moving = moved / speeds.bandwidth_bytes_per_s.value
    expected = 1e3 * (max(computing, moving) + speeds.overhead_us.value * 1e-6)
    assert (layer.macs, layer.bytes_moved) == (macs, moved)
    assert layer.latency_ms == pytest.approx(expected, rel=1e-12)


def test_tiles_make_a_staircase() -> None:
    tile = Tile(input=4, output=8, source="a staircase to test")

    def macs(inputs: int, outputs: int) -> float:
        return tiled_macs(Work("conv", inputs * outputs, inputs, outputs, kernel_size=(1, 1)), tile)

    assert macs(4, 8) == 32
    assert macs(3, 8) == macs(4, 8)
    assert macs(4, 9) == macs(4, 16) == 64
    assert tiled_macs(Work("depthwise_conv", 9, 9, 9, groups=9), tile) == 16
    assert tiled_macs(Work("conv", 32, 8, 16, groups=2), Tile(input=4, output=8, source="two whole groups")) == 32


def test_int8_on_the_microcontroller() -> None:
    cost = estimate(chain(16), IMAGE, device="cortex-m4")
    assert cost.precision == "int8"
    assert cost == estimate(chain(16), IMAGE, device="cortex-m4", precision="int8")
    graph = record_kernels(chain(16), IMAGE)
    assert cost.macs == graph.macs
    assert cost.peak_memory_bytes == 16 * 1024 + 16 * 256  # the second convolution, of stride 2
    device = load_device("cortex-m4")
    assert device.power_w is not None
    assert cost.energy_mj == pytest.approx(device.power_w.value * cost.latency_ms)


def test_the_interval_is_the_held_out_error() -> None:
    cost = estimate(chain(16), IMAGE, device="raspberry-pi-4")
    fit = load_device("raspberry-pi-4").fit["fp32"]
    assert cost.latency_error == pytest.approx(fit.interval_90)
    assert fit.share_within_10_percent > 0.6


def test_what_does_not_fit_says_so() -> None:
    assert estimate(chain(16), IMAGE, device="cortex-m4").fits
    assert not estimate(chain(16), torch.zeros(1, 3, 224, 224), device="cortex-m4").fits
    assert not estimate(nn.Linear(2000, 2000), torch.zeros(1, 2000), device="cortex-m4").fits


def test_a_cost_says_by_how_much_it_does_not_fit() -> None:
    # Two maps of 224 x 224 x 16 are live, or one and the image.
    cost = estimate(chain(16), torch.zeros(1, 3, 224, 224), device="cortex-m4")
    assert cost.excess == {"RAM": cost.peak_memory_bytes - 640 * 1024}
    assert estimate(chain(16), IMAGE, device="cortex-m4").excess == {}


def test_each_device_has_its_cost_model() -> None:
    assert cost_model_for(load_device("host"), threads=2).source == "measured"
    assert cost_model_for(load_device("raspberry-pi-4"), threads=2).source == "roofline"
    assert {"measured", "roofline"} <= set(COST_MODELS)
    with pytest.raises(UnknownNameError):
        estimate(chain(8), IMAGE, device="hosst")


def test_a_precision_that_a_device_lacks() -> None:
    with pytest.raises(InputError, match="int8 on raspberry-pi-4"):
        estimate(chain(8), IMAGE, device="raspberry-pi-4", precision="int8")


def test_a_network_that_cannot_run() -> None:
    with pytest.raises(EvaluationError):
        estimate(nn.Linear(3, 3), torch.zeros(1, 4), device="cortex-m4")
