"""The contract of a cost model, as tests: subclass :class:`CostModelContract` and give it your model.

class TestMine(CostModelContract):
    @pytest.fixture
    def cost_model(self):
        return MyCostModel(...)
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ..errors import EvaluationError, InputError
from ..evaluators.hardware.base import Cost, CostModel
from ..evaluators.onnx.onnx_export import export_onnx
from ..evaluators.onnx.quantisation import quantise_for_timing


def chain(width: int) -> nn.Module:
    """Return a small network for inputs of (1, 3, 32, 32) whose layers are ``width`` wide: about 2,304 width^2 MACs."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    layers += [nn.Conv2d(width, width, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(width, 10)).eval()


class CostModelContract:
    """What every cost model must do, on networks of about 0.2 to 40 million MACs."""

    precision = "fp32"
    """What the model is asked for."""
    deterministic = True
    """Whether the same network costs exactly the same each time."""
    profile_tolerance = 1e-6
    """How far the kernels' sum may be from the latency, as a fraction of it."""

    @pytest.fixture
    def cost_model(self) -> CostModel:
        """Return the model under test."""
        raise NotImplementedError("a subclass returns its cost model here")

    @pytest.fixture
    def example_input(self) -> torch.Tensor:
        """Return what the networks take."""
        return torch.zeros(1, 3, 32, 32)

    def _cost(self, model: CostModel, network: nn.Module, example_input: torch.Tensor) -> Cost:
        return model.estimate(network, example_input, precision=self.precision)

    def test_it_meets_the_protocol(self, cost_model: CostModel) -> None:
        assert isinstance(cost_model, CostModel)
        assert cost_model.supports(self.precision)
        assert not cost_model.supports("no-such-precision")
        assert cost_model.alignment(self.precision) >= 1

    def test_networks_told_together_cost_what_each_costs(
        self, cost_model: CostModel, example_input: torch.Tensor
    ) -> None:
        networks = [chain(8), chain(64)]
        small, large = cost_model.estimate_together(networks, example_input, precisions=[self.precision] * 2)
        assert small.latency_ms < large.latency_ms
        assert (small.macs, large.macs) == tuple(self._cost(cost_model, n, example_input).macs for n in networks)

    def test_a_file_given_is_the_file_told(self, cost_model: CostModel, example_input: torch.Tensor) -> None:
        network = chain(16)
        onnx = export_onnx(network, example_input)
        if self._cost(cost_model, network, example_input).precision == "int8":
            onnx = quantise_for_timing(network, example_input)
        told = cost_model.estimate(network, example_input, precision=self.precision, onnx=onnx)
        (together,) = cost_model.estimate_together([network], example_input, precisions=[self.precision], onnx=[onnx])
        alone = self._cost(cost_model, network, example_input)
        for cost in (told, together):
            assert (cost.precision, cost.macs, cost.size_bytes) == (alone.precision, alone.macs, alone.size_bytes)
        assert cost_model.profile(network, example_input, precision=self.precision, onnx=onnx)

    def test_costs_are_finite_and_positive(self, cost_model: CostModel, example_input: torch.Tensor) -> None:
        cost = self._cost(cost_model, chain(16), example_input)
        for value in (cost.latency_ms, cost.size_bytes, cost.macs, cost.params, cost.peak_memory_bytes):
            assert math.isfinite(value)
            assert value > 0
        assert cost.energy_mj is None or 0 < cost.energy_mj < math.inf
        assert cost.source == cost_model.source

    def test_the_interval_holds_the_latency(self, cost_model: CostModel, example_input: torch.Tensor) -> None:
        cost = self._cost(cost_model, chain(16), example_input)
        assert 0 < cost.latency_low <= cost.latency_ms <= cost.latency_high < math.inf

    def test_a_much_larger_network_costs_more(self, cost_model: CostModel, example_input: torch.Tensor) -> None:
        small = self._cost(cost_model, chain(8), example_input)
        large = self._cost(cost_model, chain(128), example_input)
        for name in ("latency_ms", "size_bytes", "macs", "params", "peak_memory_bytes"):
            assert getattr(small, name) < getattr(large, name), name

    def test_it_repeats_itself(self, cost_model: CostModel, example_input: torch.Tensor) -> None:
        network = chain(16)
        first, second = (self._cost(cost_model, network, example_input) for _ in range(2))
        if self.deterministic:
            assert first == second
        else:
            assert first.latency_ms == pytest.approx(second.latency_ms, rel=1.0)
            assert (first.macs, first.size_bytes) == (second.macs, second.size_bytes)

    def test_the_network_stays_as_it_was(self, cost_model: CostModel, example_input: torch.Tensor) -> None:
        network = chain(8).train()
        next(m for m in network.modules() if isinstance(m, nn.BatchNorm2d)).eval()
        modes = [m.training for m in network.modules()]
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        self._cost(cost_model, network, example_input)
        cost_model.profile(network, example_input, precision=self.precision)
        assert [m.training for m in network.modules()] == modes
        assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
        for module in network.modules():
            assert not module._forward_hooks
            assert not module._forward_pre_hooks

    def test_the_kernels_sum_to_the_latency(self, cost_model: CostModel, example_input: torch.Tensor) -> None:
        network = chain(96)
        cost = self._cost(cost_model, network, example_input)
        layers = cost_model.profile(network, example_input, precision=self.precision)
        assert sum(layer.macs for layer in layers) == cost.macs
        total = sum(layer.latency_ms or 0.0 for layer in layers)
        assert total == pytest.approx(cost.latency_ms, rel=self.profile_tolerance)

    def test_a_network_that_fails_is_an_evaluation_error(self, cost_model: CostModel) -> None:
        with pytest.raises(EvaluationError):
            self._cost(cost_model, chain(8), torch.zeros(1, 5, 32, 32))

    def test_an_unknown_precision_is_an_input_error(self, cost_model: CostModel, example_input: torch.Tensor) -> None:
        with pytest.raises(InputError):
            cost_model.estimate(chain(8), example_input, precision="int7")
