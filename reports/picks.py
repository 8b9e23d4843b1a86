"""Which configuration answers a wish such as "at most 1 % less accurate, as fast as possible"."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ConstraintError, InputError, describe
from ..evaluators.configuration import Configuration
from ..evaluators.objectives import OBJECTIVES, Constraint, Objective, objective
from . import formatting as fmt

if TYPE_CHECKING:
    from ..search.run_folder import Run

_ROUNDING = 1e-9
"""Slack on the accuracy bound: 0.98 - 0.01 must not miss 0.97 for the last bit of a float."""


@dataclass(frozen=True)
class Miss:
    """One wish that a configuration does not meet."""

    constraint: Constraint
    value: float | None
    """What the configuration has; ``None`` where it was not measured."""

    @property
    def by(self) -> float:
        """How far the value is on the wrong side of the bound, in the metric's own unit."""
        if self.value is None:
            return math.inf
        return abs(self.value - self.constraint.bound)

    def __str__(self) -> str:
        name = self.constraint.objective.name
        if self.value is None:
            return f"{name} was not measured (wanted {self.constraint})"
        by = fmt.points(self.by) if name in fmt.HIGHER_IS_BETTER else fmt.metric(name, self.by)
        return f"{name} is {fmt.metric(name, self.value)}, which misses {_words(self.constraint)} by {by.lstrip('+')}"

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

    @property
    def answered(self) -> bool:
        """Whether some configuration meets every wish."""
        return self.configuration is not None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for ``--json``."""
        return {
            "answered": self.answered,
            "ranked_by": self.ranked_by.name,
            "wishes": [str(wish) for wish in self.wishes],
            "configuration": None if self.configuration is None else self.configuration.to_dict(),
            "nearest": None if self.nearest is None else self.nearest.to_dict(),
            "misses": [miss.to_dict() for miss in self.misses],
        }

    def __str__(self) -> str:
        wishes = ", ".join(_words(wish) for wish in self.wishes) or "no wish"
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
                change = fmt.change(name, value, self.dense.get(name))
                compared = f" ({change})" if change else ""
                parts.append(f"{fmt.label(name).lower()} {fmt.metric(name, value)}{compared}")
        return ", ".join(parts)


def parse_max_drop(text: str | float) -> float:
    """Read ``"1%"`` or ``"0.01"``: how many accuracy points, as a fraction, may be lost against the dense network.

    Raises:
        ConstraintError: the text is no such number, negative, or more than 1.
    """
    written = str(text).strip()
    number = written.removesuffix("%").strip()
    try:
        value = float(number) / (100 if written.endswith("%") else 1)
    except ValueError:
        value = math.nan
    if 0 <= value <= 1:
        return value
    remedy = f"For {number} points write {number}%." if 1 < value <= 100 else "Write '1%' or '0.01' for one point."
    raise ConstraintError(
        describe(f"maximal accuracy drop {written!r}", expected="a percentage or a fraction in 0..1", remedy=remedy)
    )


def answer(run: Run, *, max_drop: str | float | None = None, constraints: Sequence[Constraint] = ()) -> PickAnswer:
    """Return the fastest configuration of the run's front that meets the wishes, or the nearest one.

    Args:
        run: the run; its own constraints hold too.
        max_drop: ``"1%"`` or ``0.01``: accuracy points that may be lost against the dense validation accuracy.
        constraints: further bounds.

    Raises:
        ConstraintError: ``max_drop`` is malformed.
    """
    front = run.front
    wishes = (*_accuracy_wish(max_drop, front.dense), *constraints)
    if front.configurations:
        return choose(front.configurations, wishes, ranked_by=deciding(front.objectives), dense=front.dense)
    tried = [t.configuration for t in run.trials if t.configuration is not None and t.state == "complete"]
    return choose(tried, (*run.constraints, *wishes), ranked_by=deciding(front.objectives), dense=front.dense)


def choose(
    configurations: Sequence[Configuration],
    wishes: Sequence[Constraint],
    *,
    ranked_by: Objective,
    dense: Mapping[str, float | None],
) -> PickAnswer:
    """Return the one of ``configurations`` with the least ``ranked_by`` that meets every wish, or the nearest one.

    The nearest one has the least sum of violations, each as a fraction of its bound.
    """
    wishes = tuple(wishes)
    meeting = [c for c in configurations if c.feasible(wishes)]
    if meeting:
        best = min(meeting, key=lambda c: _rank(c, ranked_by))
        return PickAnswer(best, best, (), ranked_by, wishes, dense)
    nearest = min(configurations, key=lambda c: (_violation(c, wishes), *_rank(c, ranked_by)), default=None)
    misses = (
        ()
        if nearest is None
        else tuple(
            Miss(wish, nearest.metrics.get(wish.objective.name))
            for wish in wishes
            if wish.violation(nearest.metrics) > 0
        )
    )
    return PickAnswer(None, nearest, misses, ranked_by, wishes, dense)


def _words(wish: Constraint) -> str:
    side = "at most" if wish.operator == "<=" else "at least"
    return f"{wish.objective.name} {side} {fmt.metric(wish.objective.name, wish.bound)}"


def _accuracy_wish(max_drop: str | float | None, dense: Mapping[str, float | None]) -> tuple[Constraint, ...]:
    if max_drop is None:
        return ()
    drop = parse_max_drop(max_drop)
    accuracy = dense.get("accuracy")
    if accuracy is None:
        raise InputError(
            describe(
                "the dense network's accuracy is not in the run",
                expected="a run whose dense network was evaluated",
                remedy="Resume the search, or leave the maximal drop out.",
            )
        )
    return (Constraint(objective("accuracy"), ">=", accuracy - drop - _ROUNDING),)


def deciding(objectives: Sequence[Objective]) -> Objective:
    """Return the cost that decides among configurations that all answer: latency, or else the first cost objective."""
    names = [o.name for o in objectives]
    if "latency_ms" in names:
        return objective("latency_ms")
    return next((o for o in objectives if o.direction == "minimize"), OBJECTIVES[1])


def _rank(configuration: Configuration, ranked_by: Objective) -> tuple[float, float]:
    cost = configuration.metrics.get(ranked_by.name)
    accuracy = configuration.metrics.get("accuracy")
    return (
        math.inf if cost is None else ranked_by.sign * cost,
        math.inf if accuracy is None else -accuracy,
    )


def _violation(configuration: Configuration, wishes: Sequence[Constraint]) -> float:
    return sum(max(0.0, wish.violation(configuration.metrics)) for wish in wishes)
