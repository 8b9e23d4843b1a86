"""The front of a search while it runs, kept one configuration at a time."""

from __future__ import annotations

from collections.abc import Mapping

from ..evaluators.configuration import Configuration
from ..evaluators.front import Front
from ..evaluators.objectives import SCORE, Constraint, Objective, point_of
from ..evaluators.pareto import Point, dominates
from ..evaluators.task.measure import ACCURACY, Measure, measured


class RunningFront:
    """The feasible configurations that no other dominates; of equal ones the lowest trial, as in :class:`Front`."""

    def __init__(
        self, objectives: tuple[Objective, ...], constraints: tuple[Constraint, ...], measure: Measure = ACCURACY
    ) -> None:
        self._objectives = measured(objectives, measure)
        self._measure = measure
        self._constraints = constraints
        self._points: dict[int, Point] = {}
        self._members: dict[int, Configuration] = {}

    def add(self, configuration: Configuration) -> tuple[int, ...]:
        """Add one configuration and return the trials that are off the front for good, its own perhaps among them."""
        number = configuration.trial
        if not configuration.feasible(self._constraints):
            return (number,)
        point = point_of(self._objectives, configuration.metrics)
        if any(dominates(p, point) or (p == point and n < number) for n, p in self._points.items()):
            return (number,)
        beaten = tuple(n for n, p in self._points.items() if dominates(point, p) or p == point)
        for loser in beaten:
            del self._points[loser], self._members[loser]
        self._points[number], self._members[number] = point, configuration
        return beaten

    @property
    def members(self) -> tuple[Configuration, ...]:
        """The members, in the order in which they came."""
        return tuple(self._members.values())

    def __len__(self) -> int:
        return len(self._points)

    def __contains__(self, trial: object) -> bool:
        return trial in self._points

    def best_score(self) -> float | None:
        """Return the best score on the front."""
        return self._measure.best(m.metrics.get(SCORE) for m in self._members.values())

    def hypervolume(self, dense: Mapping[str, float | None]) -> float:
        """Return the hypervolume against the ``dense`` network's reference point."""
        members = tuple(self._members.values())
        return Front(self._objectives, self._constraints, members, dense, self._measure).hypervolume
