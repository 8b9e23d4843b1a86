"""The truth: a network's latency measured in ONNX Runtime on this machine, with its spread."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from torch import nn

from ...errors import unknown_name
from ..counting import ELEMENT_BYTES
from ..onnx_export import export_onnx, onnx_feed
from ..quantisation import quantise_for_timing
from ..task import Inputs
from .base import Cost, LayerCost
from .cost import build_cost, deployed_precision, layer_cost
from .device import Device
from .kernels import record_kernels
from .node_matching import layer_costs, match_nodes
from .onnxruntime_session import RUNTIME, open_session, profile_nodes, runner
from .timing_lock import timing_lock

BLOCKS = 3
BLOCK_SECONDS = 0.05
RUNS_PER_BLOCK = (5, 200)
WARM_UP_SECONDS = 0.03
REPEATABILITY = 0.10
"""Least error of a measured latency, as a fraction of it. The spread inside one measurement hides what differs between
processes: on two shared cores 96 % of repeats in new processes agreed within 5 %, the others were up to 60 % off; on a
busier day 91.5 % agreed within 10 %."""


@dataclass(frozen=True)
class Measurement:
    """A latency with what is known about its noise."""

    median_ms: float
    """Smallest of the blocks' medians: noise from other work only ever adds."""
    spread: float
    """Largest minus smallest of the blocks' medians, as a fraction of the smallest."""
    runs: int
    """Timed runs, warm-up apart."""


def measure(model: nn.Module, example_input: Inputs, *, runtime: str = RUNTIME, threads: int = 1) -> Measurement:
    """Return the latency of one forward pass of ``model`` on ``example_input``, measured on this machine.

    At least three blocks of runs after a warm-up; about 0.2 s for a network of 1 ms. Processes take turns, see
    :mod:`~espalier.evaluators.hardware.timing_lock`.

    Raises:
        UnknownNameError: ``runtime`` is not ``onnxruntime``.
        EvaluationError: the network cannot be exported or run.
    """
    if runtime != RUNTIME:
        raise unknown_name("runtime", runtime, [RUNTIME])
    return measure_onnx(export_onnx(model, example_input), example_input, threads=threads)


def measure_onnx(onnx: bytes, example_input: Inputs, *, threads: int = 1) -> Measurement:
    """Return the latency of a network that is exported already."""
    run = runner(open_session(onnx, threads=threads), onnx_feed(example_input))
    with timing_lock():
        per_run = _warm_up(run)
        blocks = [_block(run, _block_runs(per_run)) for _ in range(BLOCKS)]
    return _summary(blocks)


def measure_interleaved(
    models: Sequence[nn.Module | bytes], example_input: Inputs, *, threads: int = 1, rounds: int = 5
) -> list[Measurement]:
    """Return the latency of each network, measured in turns: a block of each per round, so that drift hits all alike.

    Args:
        models: the networks; one that is exported already as its ONNX file.
        example_input: what each is run on, a batch of 1.
        threads: per kernel.
        rounds: blocks per network, at least 3.
    """
    feed = onnx_feed(example_input)
    files = (m if isinstance(m, bytes) else export_onnx(m, example_input) for m in models)
    runs = [runner(open_session(file, threads=threads), feed) for file in files]
    blocks: list[list[list[float]]] = [[] for _ in runs]
    with timing_lock():
        counts = [_block_runs(_warm_up(run)) for run in runs]
        for _ in range(max(rounds, BLOCKS)):
            for run, count, collected in zip(runs, counts, blocks, strict=True):
                run()  # the one before has emptied the caches
                collected.append(_block(run, count))
    return [_summary(b) for b in blocks]


class MeasuredModel:
    """Tells what a network costs on this machine by running it.

    Args:
        device: must be reachable, that is, be this machine.
        threads: per kernel; the device's own number unless given.
    """

    source = "measured"

    def __init__(self, device: Device, *, threads: int | None = None) -> None:
        self.device = device
        self.threads = threads or device.threads

    def supports(self, precision: str) -> bool:
        """Return whether costs at this precision can be told."""
        return self.device.deployed_precision(precision) in ELEMENT_BYTES

    def estimate(
        self, model: nn.Module, example_input: Inputs, *, precision: str = "fp32", onnx: bytes | None = None
    ) -> Cost:
        """Return the measured cost of one forward pass; the kernels' own latencies are :meth:`profile`'s to tell."""
        file = self._file(model, example_input, precision, onnx)
        measurement = measure_onnx(file, example_input, threads=self.threads)
        return self._cost(model, example_input, measurement, precision, file)

    def estimate_together(
        self,
        models: Sequence[nn.Module],
        example_input: Inputs,
        *,
        precisions: Sequence[str],
        onnx: Sequence[bytes | None] = (),
    ) -> tuple[Cost, ...]:
        """Return the costs of several networks measured in turns, so that a drift of the machine hits all alike."""
        given = onnx or [None] * len(models)
        files = [self._file(m, example_input, p, f) for m, p, f in zip(models, precisions, given, strict=True)]
        measurements = measure_interleaved(files, example_input, threads=self.threads)
        found = zip(models, measurements, precisions, files, strict=True)
        return tuple(self._cost(model, example_input, time, precision, file) for model, time, precision, file in found)

    def _file(self, model: nn.Module, example_input: Inputs, precision: str, onnx: bytes | None) -> bytes:
        """Return the file to run; an int8 one made here has the right latency and wrong outputs."""
        deployed = deployed_precision(self.device, precision)
        if onnx is not None:
            return onnx
        if deployed == "int8":
            return quantise_for_timing(model, example_input, threads=self.threads)
        return export_onnx(model, example_input)

    def _cost(
        self, model: nn.Module, example_input: Inputs, measurement: Measurement, precision: str, file: bytes
    ) -> Cost:
        deployed = deployed_precision(self.device, precision)
        graph = record_kernels(model, example_input)
        return build_cost(
            model,
            graph,
            self.device,
            precision=deployed,
            latency_ms=measurement.median_ms,
            error=min(max(measurement.spread, REPEATABILITY), 0.99),
            source=self.source,
            layers=tuple(layer_cost(kernel, precision=deployed) for kernel in graph.kernels),
            onnx=file,
        )

    def profile(
        self, model: nn.Module, example_input: Inputs, *, precision: str = "fp32", onnx: bytes | None = None
    ) -> tuple[LayerCost, ...]:
        """Return the runtime's own time of each kernel, in execution order, layout changes included.

        The times are taken with the profiler on, which slows small kernels: they tell shares, and their sum is about
        the latency.
        """
        deployed = deployed_precision(self.device, precision)
        kernels = record_kernels(model, example_input).kernels
        file = self._file(model, example_input, precision, onnx)
        with timing_lock():
            nodes = profile_nodes(file, onnx_feed(example_input), threads=self.threads)
        return layer_costs(match_nodes(nodes, kernels, exported=file), precision=deployed)

    def alignment(self, precision: str = "fp32") -> int:
        """Return the channel multiple worth searching on."""
        return self.device.alignment(precision)


def _warm_up(run: Callable[[], None]) -> float:
    """Run for a while, at least three times, and return the seconds of the fastest run."""
    fastest, start, count = math.inf, time.perf_counter(), 0
    while count < 3 or time.perf_counter() - start < WARM_UP_SECONDS:
        fastest = min(fastest, _timed(run))
        count += 1
    return fastest


def _block_runs(seconds_per_run: float) -> int:
    low, high = RUNS_PER_BLOCK
    return min(max(int(BLOCK_SECONDS / seconds_per_run), low), high)


def _block(run: Callable[[], None], count: int) -> list[float]:
    collecting = gc.isenabled()
    gc.disable()
    try:
        return [_timed(run) for _ in range(count)]
    finally:
        if collecting:
            gc.enable()


def _timed(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _summary(blocks: Sequence[Sequence[float]]) -> Measurement:
    medians = [median(block) for block in blocks]
    low, high = min(medians), max(medians)
    return Measurement(median_ms=1e3 * low, spread=(high - low) / low, runs=sum(len(b) for b in blocks))
