"""Measuring networks for a calibration: latency and shares, with a sentinel that tells when the machine drifts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from ...errors import EvaluationError, describe
from ..task.task import Inputs
from .calibration_table import CalibrationRow, NetworkTiming, rows_of
from .kernel_shares import kernel_shares
from .kernels import record_kernels
from .measured import BLOCK_SECONDS, Measurement, clock_of, measure_in_turns
from .runtimes import Network, Run, Runtime, runtime_called
from .runtimes.onnx_files import onnx_file
from .timing_lock import timing_lock

DRIFT = 0.10
"""How much slower than usual the sentinel may be, as a fraction, before a measurement is not trusted."""
PROFILE_SECONDS = 0.1


@dataclass(frozen=True)
class Measured:
    """One network's latency and its kernels' shares."""

    timing: NetworkTiming
    rows: tuple[CalibrationRow, ...]
    sentinel_ms: float
    """What the sentinel took in the same turns."""


@dataclass
class Bench:
    """Measures networks in one runtime on some threads; all of one bench share a sentinel.

    Args:
        runtime: its name.
        threads: per kernel.
        thoroughness: share of the usual time for which each is measured and profiled.
    """

    runtime: str
    threads: int
    thoroughness: float = 1.0
    _sentinel: Run | None = field(default=None, init=False, repr=False)
    _readings: list[float] = field(default_factory=list, init=False, repr=False)

    @property
    def readings(self) -> tuple[float, ...]:
        """What the sentinel took each time, in ms."""
        return tuple(self._readings)

    def measure(self, model: nn.Module, example_input: Inputs, *, number: int, precision: str, origin: str) -> Measured:
        """Return what ``model`` takes, measured in turns with the sentinel, then profiled.

        Raises:
            EvaluationError: it cannot be exported, quantised or run, or the runtime tells nothing of its kernels.
            UnsupportedError: the runtime has no profiler or does not run this precision.
        """
        runtime = runtime_called(self.runtime)
        graph = record_kernels(model, example_input)
        network = Network(model, example_input, precision=precision)
        file = onnx_file(network, threads=self.threads)
        network = network.with_onnx(file)
        latency, sentinel = self._time(runtime, network)
        with timing_lock():
            nodes = runtime.profile(network, threads=self.threads, seconds=self.thoroughness * PROFILE_SECONDS)
        if not nodes:
            remedy = "Calibrate another runtime."
            raise EvaluationError(
                describe(f"no kernels in {self.runtime}'s profile", expected="its kernels' times", remedy=remedy)
            )
        shares = kernel_shares(nodes, graph, exported=file, latency_ms=latency.median_ms)
        times = [_rounded(s.latency_ms) for s in shares]
        rows = rows_of(number, graph, times, ["+".join(s.operators) for s in shares])
        timing = NetworkTiming(number, precision, _rounded(latency.median_ms), _rounded(latency.spread), origin)
        return Measured(timing, rows, sentinel.median_ms)

    def again(self, model: nn.Module, example_input: Inputs, *, precision: str) -> float:
        """Return the latency alone, in ms: what a repeat tells of the noise."""
        network = Network(model, example_input, precision=precision)
        latency, _ = self._time(runtime_called(self.runtime), network.with_onnx(onnx_file(network)))
        return latency.median_ms

    def drifted(self, sentinel_ms: float) -> bool:
        """Whether the machine was slower than usual when the sentinel took so long."""
        return sentinel_ms > (1 + DRIFT) * self.usual_ms

    @property
    def usual_ms(self) -> float:
        """What the sentinel takes when nothing else disturbs it: the lower quartile of its readings."""
        return float(np.quantile(self._readings, 0.25))

    def _time(self, runtime: Runtime, network: Network) -> tuple[Measurement, Measurement]:
        if self._sentinel is None:
            self._sentinel = runtime.prepare(_sentinel_network(), threads=self.threads)
        run = runtime.prepare(network, threads=self.threads)
        pairs = [(runtime, run), (runtime, self._sentinel)]
        latency, sentinel = measure_in_turns(
            pairs,
            rounds=3,
            clock=clock_of(runtime, self.threads),
            block_seconds=self.thoroughness * BLOCK_SECONDS,
        )
        self._readings.append(sentinel.median_ms)
        return latency, sentinel


def _sentinel_network() -> Network:
    """Return a small convolutional network, the same in every calibration."""
    generator = torch.Generator().manual_seed(0)
    layers = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return Network(model, torch.ones(1, 3, 32, 32))


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
