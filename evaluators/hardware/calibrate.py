"""This machine, calibrated: a learned cost model fitted to networks timed here, with its error on networks held out."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn

from ...errors import InputError, UnsupportedError, describe
from ...spaces.graph.groups import Graph
from ...spaces.policy import Policy
from ..counting import element_bytes
from ..task.task import Inputs
from .calibrated import LEAST_NETWORKS, CalibratedDevice, calibrated_device, held_out_error
from .calibration_bench import Bench, Measured
from .calibration_networks import FAMILIES, diverse_networks
from .calibration_table import Calibration, CalibrationRow, rows_of
from .calibration_variants import STEPS, Variant, VariantSource
from .features import shapes_of
from .kernel_regressor import KernelRegressor
from .kernels import record_kernels
from .measured import RUNTIME, clock_of
from .runtimes import runtime_called
from .runtimes.timing import thread_seconds

MAX_NETWORKS = 400
TARGET = 0.98
"""Share of networks held out that is told within 10 %: a calibration that reaches it stops early."""
COMMAND = "espalier calibrate"
_LEAST_FOR_TARGET = 45
_CHECK_AFTER = 1.4
"""The error is told again once there are so many times as many networks: telling it takes seconds."""
_SAY_EVERY = 15
_ATTEMPTS = 3
"""How often a network is measured while the machine is slower than usual before it is left out."""
_TRIES = 2 * MAX_NETWORKS
_CANDIDATES = 12
"""Variants among which the one is taken that most is to be learned from."""
_ACTIVE_FROM = 15
THOROUGHNESS = 0.3
"""By a thread's own clock each network is measured for less long than usual: twice as many of them teach more than the
last percent of each."""
_RESERVE = 0.9
"""Share of the time that is measured in; the rest is for fitting and telling the error."""


def calibrate(
    model: nn.Module | None = None,
    example_input: Inputs | None = None,
    *,
    runtime: str = RUNTIME,
    threads: int = 1,
    seconds: float = 60.0,
    seed: int = 0,
    precisions: Sequence[str] = ("fp32",),
    graph: Graph | None = None,
    target: float | None = TARGET,
    families: Sequence[str] = tuple(FAMILIES),
    progress: Callable[[str], None] | None = None,
) -> CalibratedDevice:
    """Return this machine as a device whose learned cost model is fitted to networks timed here.

    Pruned variants of ``model`` are measured and profiled where one is given: the dense network, then a third each of
    arbitrary widths, multiples of 8 and of 16, from hardly to heavily pruned, and between them those that most is to be
    learned from. Without a model the networks are of several families and all sizes, for networks in general.

    Args:
        model: the network that costs are wanted for; ``None`` for networks in general.
        example_input: what it takes, a batch of 1.
        runtime: one that has a profiler: ``onnxruntime``, ``openvino``.
        threads: per kernel.
        seconds: wall time; at least nine networks are timed whatever it is.
        seed: of the random widths.
        precisions: that networks are timed at.
        graph: the model's trace, if there is one already.
        target: share of held-out networks within 10 % at which to stop early; ``None`` uses all the time.
        families: of the networks in general.
        progress: is told what goes on, a line at a time.

    Raises:
        InputError: a model without an example input, or a number out of its range.
        UnknownNameError: no such runtime or precision.
        UnsupportedError: the runtime has no profiler or does not run a precision.
        EvaluationError: the model cannot run or be exported.
    """
    _check(model, example_input, runtime, threads, seconds, precisions)
    deadline = time.perf_counter() + _RESERVE * seconds
    networks: _Networks = _Pool(seed, tuple(families))
    subject = "networks of several families"
    if model is not None and example_input is not None:
        networks = _InSitu(VariantSource.of(model, example_input, graph), seed)
        subject = "pruned variants of the network given"
    bench = Bench(runtime, threads, _thoroughness(runtime, threads))
    session = _Session(bench, tuple(precisions), subject, progress or _silent)
    session.measure(networks, deadline, target)
    return calibrated_device(session.calibration, command=COMMAND)


def _thoroughness(runtime: str, threads: int) -> float:
    undisturbed = clock_of(runtime_called(runtime), threads) is thread_seconds
    return THOROUGHNESS if undisturbed else 1.0


def _silent(_: str) -> None:
    pass


def _check(
    model: nn.Module | None,
    example_input: Inputs | None,
    runtime: str,
    threads: int,
    seconds: float,
    precisions: Sequence[str],
) -> None:
    found = runtime_called(runtime)
    for precision in precisions:
        element_bytes(precision)
        if precision not in found.precisions:
            expected = f"one of {', '.join(found.precisions)}"
            raise UnsupportedError(
                describe(f"precision {precision} in {runtime}", expected=expected, remedy="Choose another.")
            )
    if (model is None) != (example_input is None):
        got = "a model without an example input" if example_input is None else "an example input without a model"
        raise InputError(describe(got, expected="both or neither", remedy="Give both."))
    if threads < 1 or not precisions or not (math.isfinite(seconds) and seconds > 0):
        got = f"threads {threads}, seconds {seconds} and precisions {list(precisions)}"
        expected = "threads of 1 or more, seconds above 0 and a precision"
        raise InputError(describe(got, expected=expected, remedy="Correct them."))


@dataclass
class _Session:
    """What was measured so far."""

    bench: Bench
    precisions: tuple[str, ...]
    subject: str
    progress: Callable[[str], None]
    _found: list[Measured] = field(default_factory=list, init=False)
    _check_at: int = field(default=_LEAST_FOR_TARGET, init=False)

    def measure(self, networks: _Networks, deadline: float, target: float | None) -> None:
        """Measure until the time is up or the target is met, but at least nine steady networks per precision."""
        count, tries = 0, 0
        while count < MAX_NETWORKS:
            in_time = time.perf_counter() < deadline
            if count >= LEAST_NETWORKS and (not in_time or self._meets(target, count)):
                break
            tries += 1
            # A machine that does not come to rest in time is taken as it is: better a wide interval than no end.
            count += self._add(networks.next(self._fitted), count, patient=in_time and tries < _TRIES)
            if count and count % _SAY_EVERY == 0:
                self.progress(f"{count} networks measured")

    @property
    def calibration(self) -> Calibration:
        """All that was measured."""
        return Calibration(
            runtime=self.bench.runtime,
            runtime_version=runtime_called(self.bench.runtime).version(),
            threads=self.bench.threads,
            processor=processor_name(),
            subject=self.subject,
            timings=tuple(m.timing for m in self._found),
            rows=tuple(row for m in self._found for row in m.rows),
        )

    def _add(self, variant: Variant, count: int, *, patient: bool) -> int:
        """Measure a network at every precision; return whether it was kept."""
        found = []
        for place, precision in enumerate(self.precisions):
            number = count * len(self.precisions) + place
            measured = self._measure(variant, number, precision, patient)
            if measured is None:
                return 0
            found.append(measured)
        self._found += found
        return 1

    def _measure(self, variant: Variant, number: int, precision: str, patient: bool) -> Measured | None:
        """Return what a network takes, ``None`` where the machine stays slower than usual and that matters."""
        for _ in range(_ATTEMPTS):
            measured = self.bench.measure(
                variant.network, variant.example_input, number=number, precision=precision, origin=variant.origin
            )
            if not patient or not self.bench.drifted(measured.sentinel_ms):
                return measured
        return None

    def _fitted(self) -> KernelRegressor | None:
        """Return a quick fit to the first precision, once there is enough to fit to."""
        part = self.calibration.of(self.precisions[0])
        if len(part.timings) < _ACTIVE_FROM:
            return None
        rows = list(part.by_network().values())
        return KernelRegressor.fit(rows, element_bytes=element_bytes(self.precisions[0]), trees=30)

    def _meets(self, target: float | None, count: int) -> bool:
        if target is None or count < self._check_at:
            return False
        self._check_at = math.ceil(_CHECK_AFTER * count)
        errors = [held_out_error(self.calibration, precision, command=COMMAND) for precision in self.precisions]
        return all(error.share_within_10_percent >= target for error in errors)


class _Networks(Protocol):
    """Where the networks come from."""

    def next(self, fitted: Callable[[], KernelRegressor | None]) -> Variant:
        """Return the next network to measure, perhaps with the help of what was measured already."""
        ...


class _Pool:
    """Networks of several families in turn."""

    def __init__(self, seed: int, families: tuple[str, ...]) -> None:
        self._networks = diverse_networks(torch.Generator().manual_seed(seed), families)

    def next(self, fitted: Callable[[], KernelRegressor | None]) -> Variant:
        return next(self._networks)


class _InSitu:
    """Pruned variants of one network; every fourth is the one, of a dozen, that most is to be learned from."""

    def __init__(self, source: VariantSource, seed: int) -> None:
        self._source = source
        self._policies = source.policies(torch.Generator().manual_seed(seed))
        self._drawn: set[Policy] = set()
        self._active: list[Policy] = []
        self._count = 0

    def next(self, fitted: Callable[[], KernelRegressor | None]) -> Variant:
        self._count += 1
        if self._count % (4 * len(STEPS)) == 0:
            self._active = self._most_telling(fitted())
        if self._active and self._count % 4 == 0:
            return self._source.variant(self._active.pop(), "active")
        return self._source.variant(*self._fresh())

    def _fresh(self) -> tuple[Policy, str]:
        """Return a policy that was not drawn before, or after ten draws any."""
        drawn = next(self._policies)
        for _ in range(9):
            if drawn[0] not in self._drawn:
                break
            drawn = next(self._policies)
        self._drawn.add(drawn[0])
        return drawn

    def _most_telling(self, regressor: KernelRegressor | None) -> list[Policy]:
        """Return some of a dozen policies where the trees disagree most, each kernel by its share of the time."""
        if regressor is None:
            return []
        candidates = [self._fresh()[0] for _ in range(_CANDIDATES)]
        doubts = [self._doubt(policy, regressor) for policy in candidates]
        order = np.argsort(doubts)[-len(STEPS) :]
        return [candidates[i] for i in order]

    def _doubt(self, policy: Policy, regressor: KernelRegressor) -> float:
        found = regressor.predict_with_spread(shapes_of([self._rows(policy)]))
        return float(np.sum(found.log_spread * found.latency_ms) / np.sum(found.latency_ms))

    def _rows(self, policy: Policy) -> tuple[CalibrationRow, ...]:
        network = self._source.variant(policy, "").network
        graph = record_kernels(network, self._source.example_input)
        return rows_of(0, graph, [0.0] * len(graph.kernels), [""] * len(graph.kernels))


def processor_name() -> str:
    """Return the processor's name as the system tells it."""
    for line in _processor_lines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine() or "an unnamed processor"


def _processor_lines() -> Iterator[str]:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        yield from info.read_text(encoding="utf-8", errors="replace").splitlines()
