"""Which configuration answers a wish such as "at most 1 % less accurate, as fast as possible"."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ConstraintError, InputError, describe
from ..evaluators.configuration import Configuration
from ..evaluators.objectives import OBJECTIVES, SCORE, Constraint, Objective, objective
from ..evaluators.task.measure import ACCURACY, Measure
from . import formatting as fmt

if TYPE_CHECKING:
    from ..search.run_folder import Run

_ROUNDING = 1e-9
"""Slack on the bound of the score: 0.98 - 0.01 must not miss 0.97 for the last bit of a float."""


@dataclass(frozen=True)
class Miss:
    """One wish that a configuration does not meet."""

    constraint: Constraint
    value: float | None
    """What the configuration has; ``None`` where it was not measured."""
    measure: Measure = ACCURACY
    """What the score is."""

    @property
    def by(self) -> float:
        """How far the value is on the wrong side of the bound, in the metric's own unit."""
        if self.value is None:
            return math.inf
        return abs(self.value - self.constraint.bound)

    def __str__(self) -> str:
        objective, measure = self.constraint.objective, self.measure
        name = _called(objective, measure)
        if self.value is None:
            return f"{name} was not measured (wanted {fmt.constraint(self.constraint, measure)})"
        by = fmt.metric(objective.name, self.by)
        if objective.is_score:
            by = fmt.score_difference(self.by, measure, dense=self.constraint.bound).lstrip("+")
        value = fmt.metric(objective.name, self.value, measure)
        return f"{name} is {value}, which misses {_words(self.constraint, measure)} by {by}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for ``--json``."""
        by = self.by if math.isfinite(self.by) else None
        return {"constraint": str(self.constraint), "value": self.value, "by": by}


@dataclass(frozen=True)
class PickAnswer:
    """The configuration that answers, or the nearest one with what it misses."""

    configuration: Configuration | None
    """``None`` where no configuration meets every wish."""
    nearest: Configuration | None
    """The configuration itself where it answers; ``None`` only where nothing was evaluated."""
    misses: tuple[Miss, ...]
    ranked_by: Objective
    """The cost that decided among the configurations that meet every wish."""
    wishes: tuple[Constraint, ...]
    dense: Mapping[str, float | None]
    measure: Measure = ACCURACY
    """What the score is."""

    @property
    def answered(self) -> bool:
        """Whether some configuration meets every wish."""
        return self.configuration is not None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for ``--json``."""
        return {
            "answered": self.answered,
            "metric": self.measure.to_dict(),
            "ranked_by": self.ranked_by.name,
            "wishes": [str(wish) for wish in self.wishes],
            "configuration": None if self.configuration is None else self.configuration.to_dict(),
            "nearest": None if self.nearest is None else self.nearest.to_dict(),
            "misses": [miss.to_dict() for miss in self.misses],
        }

    def __str__(self) -> str:
        wishes = ", ".join(_words(wish, self.measure) for wish in self.wishes) or "no wish"
        if self.configuration is not None:
            return f"Trial {self.configuration.trial} answers ({wishes}): {self._numbers(self.configuration)}"
        if self.nearest is None:
            return f"No configuration was evaluated yet ({wishes})."
        missed = "; ".join(str(miss) for miss in self.misses)
        return (
            f"No configuration answers ({wishes}). "
            f"The nearest is trial {self.nearest.trial}: {missed}. It has {self._numbers(self.nearest)}"
        )

    def _numbers(self, configuration: Configuration) -> str:
        parts = []
        for name in dict.fromkeys(("accuracy", "test_accuracy", "latency_ms", "size_bytes", self.ranked_by.name)):
            value = configuration.metrics.get(name)
            if value is not None:
                change = fmt.change(name, value, self.dense.get(name), self.measure)
                compared = f" ({change})" if change else ""
                parts.append(f"{fmt.inline(name, self.measure)} {fmt.metric(name, value, self.measure)}{compared}")
        return ", ".join(parts)


def parse_max_drop(text: str | float, measure: Measure = ACCURACY, *, dense: float = 1.0) -> float:
    """Return by how much the score may be worse than the dense network's, in the score's own unit.

    Args:
        text: of a share, ``"1%"`` or ``"0.01"`` are both one point. Of another score, such as an error in mm, ``"5%"``
            is that share of the dense score, and ``"2.5"`` or ``"2.5mm"`` is in the metric's unit.
        measure: what the score is.
        dense: the dense network's score.

    Raises:
        ConstraintError: the text is no such number, negative, or, of a share, more than 1.
    """
    written = str(text).strip()
    if not measure.share:
        return _drop_in_unit(written, measure, dense)
    number = written.removesuffix("%").strip()
    try:
        value = float(number) / (100 if written.endswith("%") else 1)
    except ValueError:
        value = math.nan
    if 0 <= value <= 1:
        return value
    remedy = f"For {number} points write {number}%." if 1 < value <= 100 else "Write '1%' or '0.01' for one point."
    raise ConstraintError(
        describe(f"maximal drop {written!r}", expected="a percentage or a fraction in 0..1", remedy=remedy)
    )


def _drop_in_unit(written: str, measure: Measure, dense: float) -> float:
    number = written.removesuffix("%") if written.endswith("%") else written.removesuffix(measure.unit)
    try:
        value = float(number) * (abs(dense) / 100 if written.endswith("%") else 1)
    except ValueError:
        value = math.nan
    if 0 <= value < math.inf:
        return value
    expected = (
        f"by how much {measure.name} may be worse: {'a number of ' + measure.unit if measure.unit else 'a number'}"
    )
    remedy = "Write '5%' for five per cent of the dense network's, or a number above zero."
    raise ConstraintError(describe(f"maximal drop {written!r}", expected=expected, remedy=remedy))


def answer(run: Run, *, max_drop: str | float | None = None, constraints: Sequence[Constraint] = ()) -> PickAnswer:
    """Return the fastest configuration of the run's front that meets the wishes, or the nearest one.

    Args:
        run: the run; its own constraints hold too.
        max_drop: by how much the validation score may be worse than the dense one, see :func:`parse_max_drop`.
        constraints: further bounds.

    Raises:
        ConstraintError: ``max_drop`` is malformed.
    """
    front, measure = run.front, run.measure
    wishes = (*_score_wish(max_drop, front.dense, measure), *constraints)
    cost = deciding(front.objectives)
    if front.configurations:
        return choose(front.configurations, wishes, ranked_by=cost, dense=front.dense, measure=measure)
    tried = [t.configuration for t in run.trials if t.configuration is not None and t.state == "complete"]
    return choose(tried, (*run.constraints, *wishes), ranked_by=cost, dense=front.dense, measure=measure)


def choose(
    configurations: Sequence[Configuration],
    wishes: Sequence[Constraint],
    *,
    ranked_by: Objective,
    dense: Mapping[str, float | None],
    measure: Measure = ACCURACY,
) -> PickAnswer:
    """Return the one of ``configurations`` with the least ``ranked_by`` that meets every wish, or the nearest one.

    The nearest one has the least sum of violations, each as a fraction of its bound.
    """
    wishes = tuple(wishes)
    meeting = [c for c in configurations if c.feasible(wishes)]
    if meeting:
        best = min(meeting, key=lambda c: _rank(c, ranked_by, measure))
        return PickAnswer(best, best, (), ranked_by, wishes, dense, measure)
    nearest = min(configurations, key=lambda c: (_violation(c, wishes), *_rank(c, ranked_by, measure)), default=None)
    misses = (
        ()
        if nearest is None
        else tuple(
            Miss(wish, nearest.metrics.get(wish.objective.name), measure)
            for wish in wishes
            if wish.violation(nearest.metrics) > 0
        )
    )
    return PickAnswer(None, nearest, misses, ranked_by, wishes, dense, measure)


def _words(wish: Constraint, measure: Measure) -> str:
    side = "at most" if wish.operator == "<=" else "at least"
    return f"{_called(wish.objective, measure)} {side} {fmt.metric(wish.objective.name, wish.bound, measure)}"


def _called(objective: Objective, measure: Measure) -> str:
    return measure.name if objective.is_score else objective.name


def _score_wish(
    max_drop: str | float | None, dense: Mapping[str, float | None], measure: Measure
) -> tuple[Constraint, ...]:
    if max_drop is None:
        return ()
    best = dense.get(SCORE)
    if best is None:
        parse_max_drop(max_drop, measure)
        raise InputError(
            describe(
                f"the dense network's {measure.name} is not in the run",
                expected="a run whose dense network was evaluated",
                remedy="Resume the search, or leave the maximal drop out.",
            )
        )
    worst = measure.improved(best, -parse_max_drop(max_drop, measure, dense=best) - _ROUNDING)
    return (Constraint(measure.objective, ">=" if measure.higher_is_better else "<=", worst),)


def deciding(objectives: Sequence[Objective]) -> Objective:
    """Return the cost that decides among configurations that all answer: latency, or else the first cost objective."""
    names = [o.name for o in objectives]
    if "latency_ms" in names:
        return objective("latency_ms")
    return next((o for o in objectives if not o.is_score), OBJECTIVES[1])


def _rank(configuration: Configuration, ranked_by: Objective, measure: Measure) -> tuple[float, float]:
    cost = configuration.metrics.get(ranked_by.name)
    return (math.inf if cost is None else ranked_by.sign * cost, measure.key(configuration.metrics.get(SCORE)))


def _violation(configuration: Configuration, wishes: Sequence[Constraint]) -> float:
    return sum(max(0.0, wish.violation(configuration.metrics)) for wish in wishes)
