"""Numbers as people read them: units, sensible rounding, a true minus sign, and words where a number is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeGuard

from ..evaluators.objectives import Constraint
from ..evaluators.task.measure import ACCURACY, SCORES, Measure

NOT_MEASURED = "not measured"
MINUS = "\u2212"
_THIN = "\u202f"
_SCORE_DIGITS = 4
"""Significant digits of a score that is no share: networks of a front often differ in the third."""

LABELS: Mapping[str, str] = {
    "latency_ms": "Latency",
    "size_bytes": "Size",
    "dense_size_bytes": "Size with its zeros",
    "macs": "MACs",
    "params": "Parameters",
    "peak_memory_bytes": "Peak memory",
    "energy_mj": "Energy",
}
"""What a cost is called in a report."""
_SPLITS = {"accuracy": "Validation", "test_accuracy": "Test", "train_accuracy": "Training"}


def label(name: str, measure: Measure = ACCURACY) -> str:
    """Return what the metric ``name`` is called in a report.

    Args:
        name: a field of ``metrics``.
        measure: what the score is; an unknown one may be left out for costs alone.
    """
    if name in _SPLITS:
        return f"{_SPLITS[name]} {measure.name}"
    if name in SCORES:
        return f"{measure.name[:1].upper()}{measure.name[1:]} before fine-tuning"
    return LABELS.get(name, name.replace("_", " "))


def inline(name: str, measure: Measure = ACCURACY) -> str:
    """Return what the metric ``name`` is called within a sentence: ``validation RMSE``, ``latency``."""
    if name in _SPLITS:
        return f"{_SPLITS[name].lower()} {measure.name}"
    return label(name, measure) if name in SCORES else label(name).lower()


def constraint(bound: Constraint, measure: Measure = ACCURACY) -> str:
    """Return a constraint with the score called what it is: ``RMSE<=60``."""
    text = str(bound)
    return measure.name + text.removeprefix(bound.objective.name) if bound.objective.is_score else text


def better(name: str, value: float, dense: float, measure: Measure = ACCURACY) -> bool:
    """Return whether ``value`` of the metric ``name`` is better than the dense network's."""
    return measure.loss(value, dense) < 0 if name in SCORES else value < dense


def known(value: float | None) -> TypeGuard[float]:
    """Return whether ``value`` is a finite number."""
    return value is not None and math.isfinite(value)


def metric(name: str, value: float | None, measure: Measure = ACCURACY) -> str:
    """Return the metric's value with its unit, or ``not measured``."""
    if value is None or not math.isfinite(value):
        return NOT_MEASURED
    if name in SCORES:
        return score(value, measure)
    if name.endswith("_bytes"):
        return _bytes(value)
    if name.endswith("_ms"):
        return f"{significant(value)}{_THIN}ms"
    if name.endswith("_mj"):
        return f"{significant(value)}{_THIN}mJ"
    return _thousands(value)


def score(value: float | None, measure: Measure = ACCURACY) -> str:
    """Return a score as a percentage where it is a share, with its own unit otherwise."""
    if value is None or not math.isfinite(value):
        return NOT_MEASURED
    if measure.share and 0 <= value <= 1:
        return f"{_minus(value * 100, 2)}{_THIN}%"
    return _with_unit(significant(value, 3 if measure.share else _SCORE_DIGITS), measure)


def score_difference(difference: float | None, measure: Measure = ACCURACY, *, dense: float | None = None) -> str:
    """Return a difference of two scores: in points where they are shares, else in the metric's own unit.

    Args:
        difference: the second less the first.
        measure: what the score is.
        dense: one of the two, where that is known: a score out of 0..1 is no share, whatever its measure says.
    """
    if difference is None or not math.isfinite(difference):
        return NOT_MEASURED
    if measure.share and (dense is None or 0 <= dense <= 1):
        return points(difference)
    return _signed(difference, _with_unit(significant(abs(difference)), measure))


def _with_unit(number: str, measure: Measure) -> str:
    return f"{number}{_THIN}{measure.unit}" if measure.unit else number


def significant(value: float, digits: int = 3) -> str:
    """Return ``value`` rounded to ``digits`` significant ones, never in exponent form for everyday sizes."""
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, decimals)
    return _minus(rounded, max(0, min(decimals, 9)))


def change(name: str, value: float | None, dense: float | None, measure: Measure = ACCURACY) -> str:
    """Return how ``value`` differs from the dense network's: points for a share, the metric's unit for another score,
    per cent for a cost."""
    if value is None or dense is None or not (math.isfinite(value) and math.isfinite(dense)):
        return ""
    if name in SCORES:
        return score_difference(value - dense, measure, dense=dense)
    if dense == 0:
        return ""
    fraction = (value - dense) / dense * 100
    return _signed(fraction, f"{abs(fraction):.0f}{_THIN}%")


def points(difference: float | None) -> str:
    """Return a difference of two fractions in percentage points."""
    if difference is None or not math.isfinite(difference):
        return NOT_MEASURED
    return _signed(difference * 100, f"{abs(difference) * 100:.2f}{_THIN}points", zero=abs(difference) < 5e-5)


def ratio(dense: float | None, value: float | None) -> str:
    """Return how many times smaller ``value`` is than the dense network's, or nothing where unknown."""
    if not dense or not value or not known(dense) or not known(value):
        return ""
    return f"{dense / value:.2f}\u00d7" if dense / value < 10 else f"{dense / value:.0f}\u00d7"


def percent(value: float | None, digits: int = 0) -> str:
    """Return a fraction as a percentage."""
    if value is None or not math.isfinite(value):
        return NOT_MEASURED
    return f"{_minus(value * 100, digits)}{_THIN}%"


def duration(seconds: float | None) -> str:
    """Return a time span: ``0.42 s``, ``12 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds is None or not math.isfinite(seconds):
        return NOT_MEASURED
    if seconds < 60:
        return f"{significant(seconds, 2)}{_THIN}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{_THIN}min {rest:02d}{_THIN}s"
    return f"{minutes // 60}{_THIN}h {minutes % 60:02d}{_THIN}min"


def plural(count: int, noun: str, ending: str = "s") -> str:
    """Return ``1 trial`` or ``3 trials``, with thousands set apart."""
    return f"{count:,} {noun if count == 1 else noun + ending}".replace(",", _THIN)


def _bytes(value: float) -> str:
    for unit, factor in (("MiB", 1024**2), ("KiB", 1024)):
        if value >= factor:
            return f"{significant(value / factor)}{_THIN}{unit}"
    return f"{value:.0f}{_THIN}B"


def _thousands(value: float) -> str:
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{significant(value / factor)}{_THIN}{unit}"
    return significant(value)


def _minus(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}".replace("-", MINUS)


def _signed(value: float, text: str, *, zero: bool = False) -> str:
    return f"\u00b1{text}" if zero or value == 0 else f"{'+' if value > 0 else MINUS}{text}"
