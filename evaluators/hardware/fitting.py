"""Speeds of a roofline fitted to measured latencies, and how far off they are on measurements held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import least_squares
from scipy.stats import rankdata

from .kernels import Kernel
from .roofline import tiled_macs
from .speeds import FALLBACKS, Efficiencies, FitError, Overheads, Quantity, Speeds, Tile

Array = np.ndarray


@dataclass(frozen=True)
class FitSample:
    """What was measured: some kernels, a whole network's or a single one, and their latency together."""

    kernels: tuple[Kernel, ...]
    latency_ms: float
    weight: float = 1.0
    """How much its log error counts."""


@dataclass(frozen=True)
class Prior:
    """Where a fit starts, and what it is pulled to: numbers known before any measurement."""

    peak_macs_per_s: float
    """Stays as it is: only its product with an efficiency shows in a latency."""
    bandwidth_bytes_per_s: float
    overhead_us: float
    efficiency: float
    """Of every kind."""
    peak_source: str
    tile: Tile
    weight: float = 0.02
    """Pull towards these numbers: a log distance from them counts this much, a measurement's log error 1."""
    rate_weight: float | None = None
    """The same for bandwidth and efficiencies alone, where measurements tell little of them."""
    overhead_by_kind: bool = False
    """Whether each kind of kernel has an overhead of its own: where starting kernels, not running them, takes time."""


@dataclass(frozen=True)
class _Problem:
    """All kernels of all samples, flat."""

    sample: Array
    kind: Array
    macs: Array
    bytes: Array
    measured: Array
    weight: Array
    kinds: tuple[str, ...]

    @classmethod
    def of(cls, samples: Sequence[FitSample], kinds: tuple[str, ...], tile: Tile, element_bytes: int) -> _Problem:
        rows = [(i, k) for i, s in enumerate(samples) for k in s.kernels]
        return cls(
            sample=np.array([i for i, _ in rows]),
            kind=np.array([kinds.index(_present(k.kind, kinds)) for _, k in rows]),
            macs=np.array([tiled_macs(k.work, tile) for _, k in rows], dtype=float),
            bytes=np.array([k.bytes_moved(element_bytes) for _, k in rows], dtype=float),
            measured=np.array([s.latency_ms * 1e-3 for s in samples]),
            weight=np.array([s.weight for s in samples]),
            kinds=kinds,
        )

    def predict(self, log_parameters: Array, peak: float) -> Array:
        """Return each sample's seconds.

        Parameters are the logs of the bandwidth, of the kinds' efficiencies, and of overheads in seconds: one per
        kernel, or one for each kind and one per network.
        """
        count = len(self.kinds)
        bandwidth = np.exp(log_parameters[0])
        efficiency = np.exp(log_parameters[1 : 1 + count])[self.kind]
        overheads = np.exp(log_parameters[1 + count :])
        overhead, start = (overheads[self.kind], overheads[-1]) if len(overheads) > 1 else (overheads[0], 0.0)
        moving = self.bytes / bandwidth
        computing = self.macs / (peak * efficiency)
        busy = np.where(self.macs > 0, np.maximum(computing, moving), moving / efficiency)
        return np.bincount(self.sample, weights=busy + overhead, minlength=len(self.measured)) + start


def fit_speeds(samples: Sequence[FitSample], prior: Prior, *, source: str, element_bytes: int) -> Speeds:
    """Return the speeds that bring the roofline closest to ``samples``: least squares on log error, robust to outliers.

    Args:
        samples: what was measured.
        prior: known numbers.
        source: what the fitted numbers cite.
        element_bytes: of a weight or activation at the precision measured.
    """
    kinds = kinds_of(samples)
    problem = _Problem.of(samples, kinds, prior.tile, element_bytes)
    overheads = len(kinds) + 1 if prior.overhead_by_kind else 1
    start = np.log(
        np.array(
            [
                prior.bandwidth_bytes_per_s,
                *(1.0 if kind == "elementwise" else prior.efficiency for kind in kinds),
                *(prior.overhead_us * 1e-6 for _ in range(overheads)),
            ]
        )
    )
    pull = np.full(len(start), prior.weight)
    pull[: 1 + len(kinds)] = prior.weight if prior.rate_weight is None else prior.rate_weight
    if prior.overhead_by_kind:
        pull[-1] = 0.0

    def residuals(parameters: Array) -> Array:
        errors = problem.weight * np.log(problem.predict(parameters, prior.peak_macs_per_s) / problem.measured)
        return np.concatenate([errors, pull * (parameters - start)])

    lower, upper = start - np.log(1000.0), start + np.log(1000.0)
    upper[1 : 1 + len(kinds)] = np.log(4.0)
    # Elementwise kernels define the bandwidth, so their efficiency is 1 and stays there.
    fixed = 1 + kinds.index("elementwise")
    lower[fixed], upper[fixed] = -1e-6, 1e-6
    found = least_squares(residuals, start, bounds=(lower, upper), loss="soft_l1", f_scale=0.1, max_nfev=200)
    return _speeds(found.x, kinds, prior, source)


def predict_ms(samples: Sequence[FitSample], speeds: Speeds, *, element_bytes: int) -> Array:
    """Return the latency in ms that the roofline tells for each sample, of shape (samples,)."""
    kinds = tuple(speeds.efficiency.values)
    problem = _Problem.of(samples, kinds, speeds.tile, element_bytes)
    values = [
        speeds.bandwidth_bytes_per_s.value,
        *speeds.efficiency.values.values(),
        *(speeds.overhead_of(kind) * 1e-6 for kind in kinds),
        1e-6 * (1e-9 if speeds.start_us is None else speeds.start_us.value),
    ]
    return 1e3 * problem.predict(np.log(np.array(values)), speeds.peak_macs_per_s.value)


def fit_error(
    predicted: Array,
    measured: Array,
    *,
    fitted: int,
    method: Literal["held-out", "leave-one-out", "leave-network-out", "nominal"],
    source: str,
    command: str,
) -> FitError:
    """Return how far ``predicted`` is from ``measured``, both in ms and of shape (networks,), none of them fitted to.

    The interval holds 90 % of the measurements, or all where there are fewer than ten.
    """
    relative = np.abs(predicted - measured) / measured
    of_prediction = np.abs(measured - predicted) / predicted
    share = 0.9 if len(measured) >= 10 else 1.0
    width = float(np.quantile(of_prediction, share, method="higher"))
    return FitError(
        source=source,
        command=command,
        fitted=fitted,
        held_out=len(measured),
        method=method,
        median_relative_error=_rounded(float(np.median(relative))),
        share_within_10_percent=_rounded(float(np.mean(relative <= 0.1))),
        spearman=_rank_correlation(predicted, measured),
        interval_90=_rounded(max(width, 1e-3)),
    )


def _rank_correlation(predicted: Array, measured: Array) -> float | None:
    if len(set(predicted.tolist())) < 2 or len(set(measured.tolist())) < 2:
        return None
    return _rounded(float(np.corrcoef(rankdata(predicted), rankdata(measured))[0, 1]))


def kinds_of(samples: Sequence[FitSample]) -> tuple[str, ...]:
    """Return the kinds among the samples' kernels, with the two that others fall back to."""
    found = dict.fromkeys(k.kind for s in samples for k in s.kernels)
    return tuple(dict.fromkeys(("conv", "elementwise", *sorted(found))))


def _present(kind: str, kinds: tuple[str, ...]) -> str:
    while kind not in kinds:
        kind = FALLBACKS.get(kind, "elementwise")
    return kind


def _speeds(log_parameters: Array, kinds: tuple[str, ...], prior: Prior, source: str) -> Speeds:
    numbers = [float(v) for v in np.exp(log_parameters)]
    efficiencies, overheads = numbers[1 : 1 + len(kinds)], [1e6 * v for v in numbers[1 + len(kinds) :]]
    values = {kind: _rounded(min(value, 4.0)) for kind, value in zip(kinds, efficiencies, strict=True)}
    start = overheads.pop() if prior.overhead_by_kind else None
    own = dict(zip(kinds, map(_rounded, overheads), strict=True)) if prior.overhead_by_kind else None
    general = _rounded(float(np.median(overheads)))
    return Speeds(
        peak_macs_per_s=Quantity(value=prior.peak_macs_per_s, source=prior.peak_source),
        bandwidth_bytes_per_s=Quantity(value=_rounded(numbers[0]), source=source),
        overhead_us=Quantity(value=general, source=source),
        overheads_us=None if own is None else Overheads(values=own, source=source),
        start_us=None if start is None else Quantity(value=_rounded(start), source=source),
        tile=prior.tile,
        efficiency=Efficiencies(values=values, source=source),
    )


def _rounded(value: float) -> float:
    """Return ``value`` to four significant digits: what a YAML file holds is what was fitted."""
    return float(f"{value:.4g}")
