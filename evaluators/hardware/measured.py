"""The truth: a network's latency measured on this machine, in ONNX Runtime or another runtime, with its spread."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import cast

from torch import nn

from ...errors import EvaluationError, describe
from ..counting import ELEMENT_BYTES
from ..onnx.quantisation import int8_elements
from ..task.task import Inputs
from .base import Cost, LayerCost
from .cost import build_cost, deployed_precision, layer_cost
from .device import Device
from .kernels import record_kernels
from .node_matching import layer_costs, match_nodes
from .runtimes import Network, Run, Runtime, runtime_called
from .runtimes.onnx_files import onnx_file
from .runtimes.timing import thread_seconds
from .timing_lock import timing_lock

Clock = Callable[[Run], float]

RUNTIME = "onnxruntime"
"""The default."""
BLOCKS = 3
BLOCK_SECONDS = 0.05
RUNS_PER_BLOCK = (5, 2000)
WARM_UP_SECONDS = 0.03
REPEATABILITY = 0.10
"""Least error of a measured latency, as a fraction of it. The spread inside one measurement hides what differs between
processes: on two shared cores 96 % of repeats in new processes agreed within 5 %, the others were up to 60 % off; on a
busier day 91.5 % agreed within 10 %."""
THREAD_CLOCK_SECONDS = 1e-6
"""A thread's clock that counts more coarsely tells nothing of one call; some systems count in hundredths."""
RESOLUTION_MS = 0.001
"""Least error of a measured latency in milliseconds: a call's own overhead differs by about that between processes (a
network of 6.0 µs took 5.9 to 7.0 µs in ten)."""


@dataclass(frozen=True)
class Measurement:
    """A latency with what is known about its noise."""

    median_ms: float
    """Smallest of the blocks' medians: noise from other work only ever adds."""
    spread: float
    """By how much the typical block exceeded the fastest, as a fraction: one that was disturbed does not count."""
    runs: int
    """Timed runs, warm-up apart."""

    @property
    def error(self) -> float:
        """By how much a later measurement may differ, as a fraction."""
        return min(max(self.spread, REPEATABILITY, RESOLUTION_MS / self.median_ms), 0.99)


def measure(
    model: nn.Module, example_input: Inputs, *, runtime: str = RUNTIME, threads: int = 1, precision: str = "fp32"
) -> Measurement:
    """Return the latency of one forward pass of ``model`` on ``example_input``, measured on this machine.

    At least three blocks of runs after a warm-up; about 0.2 s for a network of 1 ms. Processes take turns, see
    :mod:`~espalier.evaluators.hardware.timing_lock`.

    Args:
        model: the network.
        example_input: a batch of 1.
        runtime: one of :data:`~espalier.evaluators.hardware.runtimes.RUNTIMES`.
        threads: per kernel.
        precision: that it runs at; an int8 network is quantised by drawn inputs, so its latency alone is right.

    Raises:
        UnknownNameError: no such runtime.
        MissingExtraError: the runtime is not installed.
        UnsupportedError: the runtime does not run this precision.
        EvaluationError: the network cannot be exported or run.
    """
    return measure_network(Network(model, example_input, precision=precision), runtime=runtime, threads=threads)


def measure_onnx(onnx: bytes, example_input: Inputs, *, runtime: str = RUNTIME, threads: int = 1) -> Measurement:
    """Return the latency of a network that is exported already, in a runtime that reads ONNX."""
    return measure_network(_network(onnx, example_input), runtime=runtime, threads=threads)


def measure_network(network: Network, *, runtime: str = RUNTIME, threads: int = 1) -> Measurement:
    """Return the latency of ``network`` in ``runtime`` on this machine; see :func:`measure`."""
    found = runtime_called(runtime)
    seconds = clock_of(found, threads)
    run = found.prepare(network, threads=threads)
    with timing_lock():
        per_run = _warm_up(seconds, run)
        blocks = [_block(seconds, run, _block_runs(per_run)) for _ in range(BLOCKS)]
    return _summary(blocks)


def clock_of(runtime: Runtime, threads: int) -> Clock:
    """Return what tells the seconds of one call: the runtime's own clock, or that of the calling thread.

    ONNX Runtime with one thread computes in the caller's. Where the system tells what that thread computed, what others
    took of its core in between does not count: a latency is then the network's, however busy the machine.
    """
    fine = time.get_clock_info("thread_time").resolution <= THREAD_CLOCK_SECONDS
    return thread_seconds if fine and threads == 1 and runtime.name == RUNTIME else runtime.seconds


def measure_interleaved(
    models: Sequence[nn.Module | bytes | Network],
    example_input: Inputs,
    *,
    runtime: str = RUNTIME,
    threads: int = 1,
    rounds: int = 5,
) -> list[Measurement]:
    """Return the latency of each network, measured in turns: a block of each per round, so that drift hits all alike.

    Args:
        models: the networks; one that is exported already as its ONNX file.
        example_input: what each is run on, a batch of 1.
        runtime: one of :data:`~espalier.evaluators.hardware.runtimes.RUNTIMES`.
        threads: per kernel.
        rounds: blocks per network, at least 3.
    """
    found = runtime_called(runtime)
    runs = [found.prepare(_network(m, example_input), threads=threads) for m in models]
    return measure_in_turns([(found, run) for run in runs], rounds=rounds, clock=clock_of(found, threads))


def measure_in_turns(
    pairs: Sequence[tuple[Runtime, Run]],
    *,
    rounds: int = 5,
    clock: Clock | None = None,
    block_seconds: float = BLOCK_SECONDS,
) -> list[Measurement]:
    """Return the latency of each run in its runtime, which may be several, measured in turns.

    Args:
        pairs: the runs.
        rounds: blocks of each, at least 3.
        clock: the seconds of one call; the runtime's own clock unless given.
        block_seconds: of one block, unless five runs take longer; the warm-up is shortened alike.
    """
    blocks: list[list[list[float]]] = [[] for _ in pairs]
    with timing_lock():
        clocks = [clock or runtime.seconds for runtime, _ in pairs]
        warm_up = WARM_UP_SECONDS * min(1.0, block_seconds / BLOCK_SECONDS)
        fastest = [_warm_up(seconds, run, warm_up) for seconds, (_, run) in zip(clocks, pairs, strict=True)]
        counts = [_block_runs(each, block_seconds) for each in fastest]
        for _ in range(max(rounds, BLOCKS)):
            for seconds, (_, run), count, collected in zip(clocks, pairs, counts, blocks, strict=True):
                run()  # the one before has emptied the caches
                collected.append(_block(seconds, run, count))
    return [_summary(b) for b in blocks]


def _network(given: nn.Module | bytes | Network, example_input: Inputs) -> Network:
    if isinstance(given, Network):
        return given
    if isinstance(given, bytes):
        return Network(None, example_input, given, "int8" if int8_elements(given) else "fp32")
    return Network(given, example_input)


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
        self._runtime = device.runtime

    def supports(self, precision: str) -> bool:
        """Return whether costs at this precision can be told."""
        deployed = self.device.deployed_precision(precision)
        return deployed in ELEMENT_BYTES and deployed in runtime_called(self._runtime).precisions

    def estimate(
        self, model: nn.Module, example_input: Inputs, *, precision: str = "fp32", onnx: bytes | None = None
    ) -> Cost:
        """Return the measured cost of one forward pass; the kernels' own latencies are :meth:`profile`'s to tell."""
        network = self._network(model, example_input, precision, onnx)
        measurement = measure_network(network, runtime=self._runtime, threads=self.threads)
        return self._cost(network, measurement)

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
        triples = zip(models, precisions, given, strict=True)
        networks = [self._network(model, example_input, precision, file) for model, precision, file in triples]
        times = measure_interleaved(networks, example_input, runtime=self._runtime, threads=self.threads)
        return tuple(self._cost(network, time) for network, time in zip(networks, times, strict=True))

    def _network(self, model: nn.Module, example_input: Inputs, precision: str, onnx: bytes | None) -> Network:
        """Return the network, at int8 with its file, as its size is of the file that runs."""
        deployed, scheme = deployed_precision(self.device, precision), self.device.quantisation_scheme
        network = Network(model, example_input, onnx, deployed, scheme)
        return self._with_file(network) if network.precision == "int8" else network

    def _with_file(self, network: Network) -> Network:
        return network.with_onnx(onnx_file(network, threads=self.threads))

    def _cost(self, network: Network, measurement: Measurement) -> Cost:
        model, deployed = cast(nn.Module, network.model), network.precision
        graph = record_kernels(model, network.example_input)
        return build_cost(
            model,
            graph,
            self.device,
            precision=deployed,
            latency_ms=measurement.median_ms,
            error=measurement.error,
            source=self.source,
            layers=tuple(layer_cost(kernel, precision=deployed) for kernel in graph.kernels),
            onnx=network.onnx,
        )

    def profile(
        self, model: nn.Module, example_input: Inputs, *, precision: str = "fp32", onnx: bytes | None = None
    ) -> tuple[LayerCost, ...]:
        """Return the runtime's own time of each kernel, in execution order, layout changes included.

        The times are taken with the profiler on, which slows small kernels: they tell shares, and their sum is about
        the latency.
        """
        network = self._with_file(self._network(model, example_input, precision, onnx))
        kernels = record_kernels(model, example_input).kernels
        with timing_lock():
            nodes = runtime_called(self._runtime).profile(network, threads=self.threads)
        matched = match_nodes(nodes, kernels, exported=cast(bytes, network.onnx))
        return layer_costs(matched, precision=network.precision)

    def alignment(self, precision: str = "fp32") -> int:
        """Return the channel multiple worth searching on."""
        return self.device.alignment(precision)


def _warm_up(seconds: Clock, run: Run, least: float = WARM_UP_SECONDS) -> float:
    """Run for a while, at least three times, and return the seconds of the fastest run.

    On a crowded machine a thread's clock may stand still over a short run, which says nothing of it.
    """
    fastest, start, count = math.inf, time.perf_counter(), 0
    while count < 3 or time.perf_counter() - start < least:
        fastest = min(fastest, seconds(run) or math.inf)
        count += 1
    return fastest


def _block_runs(seconds_per_run: float, block_seconds: float = BLOCK_SECONDS) -> int:
    low, high = RUNS_PER_BLOCK
    return min(max(int(block_seconds / seconds_per_run), low), high)


def _block(seconds: Clock, run: Run, count: int) -> list[float]:
    collecting = gc.isenabled()
    gc.disable()
    try:
        return [seconds(run) for _ in range(count)]
    finally:
        if collecting:
            gc.enable()


def _summary(blocks: Sequence[Sequence[float]]) -> Measurement:
    medians = [median(ran) for block in blocks if (ran := [seconds for seconds in block if seconds > 0])]
    if not medians:
        raise EvaluationError(
            describe("the clock stood still in every run", expected="runs that take time", remedy="Measure again.")
        )
    low = min(medians)
    return Measurement(median_ms=1e3 * low, spread=median(medians) / low - 1, runs=sum(len(b) for b in blocks))
