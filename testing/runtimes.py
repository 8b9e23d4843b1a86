"""The contract of a runtime, as tests: subclass :class:`RuntimeContract` and give it your runtime.

class TestMine(RuntimeContract):
    @pytest.fixture
    def runtime(self):
        return MyRuntime()
"""

from __future__ import annotations

import copy
import math
import re
import time

import numpy as np
import pytest
import torch
from torch import nn

from ..errors import EvaluationError, UnsupportedError
from ..evaluators.hardware.device import Device, load_device
from ..evaluators.hardware.measured import MeasuredModel, Measurement, measure_in_turns
from ..evaluators.hardware.onnxruntime_session import open_session
from ..evaluators.hardware.runtimes.base import Network, Runtime
from ..evaluators.onnx.onnx_export import onnx_feed
from ..evaluators.onnx.quantisation import quantise_for_timing
from .cost_models import chain

INPUT = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)


class Residual(nn.Module):
    """Two convolutions, one depthwise, around which an addition goes, a pool and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.pointwise = nn.Conv2d(16, 16, 1, bias=False)
        self.head = nn.Linear(16 * 4 * 4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return 5 scores for images of (N, 3, 32, 32)."""
        x = self.first(x)
        x = torch.relu(x + self.pointwise(torch.relu(self.depthwise(x))))
        return self.head(nn.functional.max_pool2d(x, 4).flatten(1))


class RuntimeContract:
    """What every runtime must do, on networks of about 1 to 40 million MACs."""

    precision = "fp32"
    """What is asked for in the tests that ask for one."""
    threads = 1
    tolerance = 1e-4
    """How far outputs may be from PyTorch's at fp32, or from the file's own in ONNX Runtime at int8."""
    profiles = True
    """Whether it tells the time of each kernel."""
    profile_range = (0.3, 3.0)
    """Of the kernels' sum as a fraction of the latency: a profiler slows small kernels."""
    uses_processor = True
    """Whether the work is done by threads of this process."""
    sparsity_tolerance = 0.1
    """How far the latency of a network full of zeros may be from the dense one's in a quiet moment."""

    @pytest.fixture
    def runtime(self) -> Runtime:
        """Return the runtime under test."""
        raise NotImplementedError("a subclass returns its runtime here")

    def _network(self, model: nn.Module, example_input: torch.Tensor = INPUT) -> Network:
        if self.precision == "fp32":
            return Network(model, example_input)
        onnx = quantise_for_timing(model, example_input)
        return Network(model, example_input, onnx, self.precision)

    def _expected(self, network: Network) -> np.ndarray:
        if network.onnx is not None:
            feed = onnx_feed(network.example_input)
            return open_session(network.onnx, threads=1).run(None, feed)[0]
        assert network.model is not None
        with torch.no_grad():
            return network.model(network.example_input).numpy()

    def test_it_meets_the_protocol(self, runtime: Runtime) -> None:
        assert isinstance(runtime, Runtime)
        assert self.precision in runtime.precisions
        assert re.match(r"\d+\.\d+", runtime.version())

    @pytest.mark.parametrize("build", [Residual, lambda: chain(24)], ids=["residual", "chain"])
    def test_outputs_are_the_networks(self, runtime: Runtime, build: type[nn.Module]) -> None:
        torch.manual_seed(0)
        network = self._network(build().eval())
        run = runtime.prepare(network, threads=self.threads)
        expected = self._expected(network)
        for _ in range(3):  # what a run leaves behind must not change the next one
            (found,) = runtime.arrays(run())
            assert found.shape == expected.shape
            np.testing.assert_allclose(found, expected, atol=self.tolerance * max(1.0, np.abs(expected).max()))

    def test_two_prepared_networks_do_not_disturb_each_other(self, runtime: Runtime) -> None:
        torch.manual_seed(1)
        networks = [self._network(chain(width)) for width in (8, 16)]
        runs = [runtime.prepare(n, threads=self.threads) for n in networks]
        for _ in range(2):
            for network, run in zip(networks, runs, strict=True):
                expected = self._expected(network)
                limit = self.tolerance * max(1.0, np.abs(expected).max())
                np.testing.assert_allclose(runtime.arrays(run())[0], expected, atol=limit)

    def test_the_network_stays_as_it_was(self, runtime: Runtime) -> None:
        model = chain(8).train()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        runtime.prepare(self._network(model), threads=self.threads)()
        assert model.training
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())

    def test_threads_are_pinned(self, runtime: Runtime) -> None:
        if not self.uses_processor:
            pytest.skip("the work is not done by this process's threads")
        run = runtime.prepare(self._network(chain(128)), threads=1)
        for _ in range(5):
            run()
        wall, busy = time.perf_counter(), time.process_time()
        while time.perf_counter() - wall < 0.5:
            run()
        busy, wall = time.process_time() - busy, time.perf_counter() - wall
        assert busy < 1.3 * wall

    @pytest.mark.timed
    def test_it_is_warm_when_it_is_timed(self, runtime: Runtime) -> None:
        run = runtime.prepare(self._network(chain(48)), threads=self.threads)
        run()
        seconds = sorted(runtime.seconds(run) for _ in range(15))
        assert 0 < seconds[0] < math.inf
        assert seconds[7] < 5 * seconds[0]

    def test_a_larger_network_takes_longer(self, runtime: Runtime) -> None:
        small, large = self._in_turns(runtime, [chain(8), chain(160)])
        assert small.median_ms < large.median_ms

    def test_an_unsupported_precision_is_told(self, runtime: Runtime) -> None:
        with pytest.raises(UnsupportedError, match=r"int7.*expected one of.*fp32"):
            runtime.prepare(Network(chain(8), INPUT, precision="int7"), threads=1)

    def test_no_network_at_all_is_told(self, runtime: Runtime) -> None:
        with pytest.raises(UnsupportedError):
            runtime.prepare(Network(None, INPUT, precision=self.precision), threads=1)

    def test_a_network_that_fails_is_an_evaluation_error(self, runtime: Runtime) -> None:
        with pytest.raises(EvaluationError):
            runtime.prepare(Network(chain(8), torch.zeros(1, 5, 32, 32), precision=self.precision), threads=1)

    def test_the_profile_sums_to_about_the_latency(self, runtime: Runtime) -> None:
        network = self._network(chain(96))
        if not self.profiles:
            with pytest.raises(UnsupportedError):
                runtime.profile(network, threads=self.threads)
            return
        run = runtime.prepare(network, threads=self.threads)
        nodes = runtime.profile(network, threads=self.threads)
        (latency,) = measure_in_turns([(runtime, run)])
        assert all(node.name and node.operator and node.latency_ms >= 0 for node in nodes)
        low, high = self.profile_range
        assert low < sum(node.latency_ms for node in nodes) / latency.median_ms < high

    @pytest.mark.parametrize("kind", ["weight", "2:4"])
    def test_zeros_get_no_credit_from_a_runtime_that_computes_with_them(self, runtime: Runtime, kind: str) -> None:
        device = self.device(runtime)
        if kind in device.sparse_kernels.get(self.precision, ()):
            pytest.skip(f"{device.name} states kernels for {kind} at {self.precision}")
        torch.manual_seed(2)
        dense = chain(96)
        sparse = with_zeros(dense, kind)
        model = MeasuredModel(device, threads=self.threads)
        told = []
        for _ in range(4):  # noise of other work only ever adds, to either: one quiet round tells
            # in both orders: in one, a second network was once told a tenth slower, four rounds in a row
            first, second = model.estimate_together([dense, sparse], INPUT, precisions=[self.precision] * 2)
            swapped, other = model.estimate_together([sparse, dense], INPUT, precisions=[self.precision] * 2)
            told.append(math.sqrt(second.latency_ms / first.latency_ms * swapped.latency_ms / other.latency_ms))
            if abs(told[-1] - 1) < self.sparsity_tolerance:
                break
        else:
            pytest.fail(f"{kind}: of the dense latency {told}")
        assert first.latency_low < told[-1] * first.latency_ms < first.latency_high
        assert (first.macs, first.size_bytes) == (second.macs, second.size_bytes)

    def device(self, runtime: Runtime) -> Device:
        """Return the device that the runtime measures: this machine's, unless a subclass names another."""
        return load_device("host").model_copy(update={"runtime": runtime.name})

    def _in_turns(self, runtime: Runtime, models: list[nn.Module]) -> list[Measurement]:
        runs = [runtime.prepare(self._network(m), threads=self.threads) for m in models]
        return measure_in_turns([(runtime, run) for run in runs])


def with_zeros(model: nn.Module, kind: str) -> nn.Module:
    """Return a copy with zeros for the smallest weights: ``weight`` for 95 % of each layer's, or a pattern, ``2:4``.

    A pattern runs along the inputs of each output, as sparse kernels read them; layers whose inputs it does not divide
    stay as they are.
    """
    sparse = copy.deepcopy(model)
    for module in sparse.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            with torch.no_grad():
                module.weight.mul_(_kept(module.weight, kind))
    return sparse


def _kept(weight: torch.Tensor, kind: str) -> torch.Tensor:
    if kind == "weight":
        return weight.abs() > torch.quantile(weight.abs().flatten()[:: max(1, weight.numel() // 100_000)], 0.95)
    keep, of = (int(part) for part in kind.split(":"))
    if weight.shape[1] % of:
        return torch.ones_like(weight)
    groups = weight.movedim(1, -1).abs().unflatten(-1, (-1, of))
    ranks = groups.argsort(dim=-1, descending=True).argsort(dim=-1)
    return (ranks < keep).flatten(-2).movedim(-1, 1)
