"""The Pareto front of a run: the configurations that no other dominates, and the named picks among them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import InputError, describe, unknown_name
from .configuration import Configuration
from .objectives import SCORE, Constraint, Objective, point_of
from .pareto import Point, hypervolume, non_dominated
from .task.measure import ACCURACY, Measure, measured

PICKS = ("knee", "fastest", "smallest", "most-accurate")
"""``fastest``, ``smallest`` and ``most-accurate`` are the extremes of latency, size and score (ties: the better in
the other objectives); ``knee`` is the member farthest below the straight line, or plane, between the front's extremes
once each objective is scaled to [0, 1] over the front (Das, "On characterizing the knee of the Pareto curve", 1999)."""


@dataclass(frozen=True)
class Front:
    """The feasible configurations that no other dominates, ascending in the first cost that is an objective."""

    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    configurations: tuple[Configuration, ...]
    dense: Mapping[str, float | None]
    """Metrics of the network as it was brought."""
    measure: Measure = ACCURACY
    """What the score is."""

    @classmethod
    def of(
        cls,
        configurations: Sequence[Configuration],
        *,
        objectives: tuple[Objective, ...],
        dense: Mapping[str, float | None],
        constraints: tuple[Constraint, ...] = (),
        measure: Measure = ACCURACY,
    ) -> Front:
        """Return the front of ``configurations``; those that miss a constraint or lack an objective are left out."""
        objectives = measured(objectives, measure)
        eligible = [c for c in configurations if c.feasible(constraints) and all(_known(c, o) for o in objectives)]
        points = [_point(c, objectives) for c in eligible]
        members = [eligible[i] for i in non_dominated(points)]
        members.sort(key=lambda c: _by_cost(c, objectives))
        untagged = cls(objectives, constraints, tuple(members), dense, measure)
        return dataclasses.replace(untagged, configurations=untagged._tagged())

    @property
    def reference_point(self) -> dict[str, float]:
        """What a configuration must beat to add hypervolume: all of the dense cost, and the measure's own reference."""
        return {
            o.name: self.measure.reference(value) if o.is_score else value
            for o in self.objectives
            if (value := self.dense.get(o.name)) is not None
        }

    @property
    def hypervolume(self) -> float:
        """Volume between front and reference point, scaled so that the dense score at no cost at all would be 1."""
        return self.hypervolume_against(self.reference_point, self.dense)

    def hypervolume_against(self, reference: Mapping[str, float], dense: Mapping[str, float | None]) -> float:
        """Return the hypervolume against another reference point, scaled by another dense network's metrics."""
        if any(reference.get(o.name) is None or not _is_scale(dense.get(o.name), o) for o in self.objectives):
            return 0.0
        points = [
            tuple(_scaled(c.metrics[o.name], o, reference, dense) for o in self.objectives) for c in self.configurations
        ]
        return hypervolume(points, (1.0,) * len(self.objectives))

    def pick(self, name: str | int) -> Configuration:
        """Return the member called ``knee``, ``fastest``, ``smallest`` or ``most-accurate``, or of a trial number.

        Raises:
            InputError: the front is empty, or has no such member.
        """
        if not self.configurations:
            raise InputError(
                describe("the front is empty", expected="a feasible configuration", remedy="Loosen a constraint.")
            )
        for configuration in self.configurations:
            if name in configuration.tags or str(configuration.trial) == str(name):
                return configuration
        if str(name).isdigit():
            trials = ", ".join(str(c.trial) for c in self.configurations)
            raise InputError(
                describe(f"trial {name} is not on the front", expected=f"one of {trials}", remedy="Pick one of these.")
            )
        raise unknown_name("pick", str(name), PICKS)

    def within(self, constraints: tuple[Constraint, ...]) -> Front:
        """Return the front under further constraints, with its picks taken anew."""
        return Front.of(
            self.configurations,
            objectives=self.objectives,
            dense=self.dense,
            constraints=(*self.constraints, *constraints),
            measure=self.measure,
        )

    def _tagged(self) -> tuple[Configuration, ...]:
        tags: dict[int, list[str]] = {c.trial: [] for c in self.configurations}
        if self.configurations:
            for name, winner in self._winners().items():
                tags[winner.trial].append(name)
        return tuple(dataclasses.replace(c, tags=tuple(tags[c.trial])) for c in self.configurations)

    def _winners(self) -> dict[str, Configuration]:
        members = self.configurations
        winners = {"knee": members[knee([_point(c, self.objectives) for c in members])]}
        for name, metric in (("fastest", "latency_ms"), ("smallest", "size_bytes")):
            if all(c.metrics.get(metric) is not None for c in members):
                winners[name] = min(members, key=lambda c: (c.metrics[metric], *_point(c, self.objectives)))
        if all(c.metrics.get(SCORE) is not None for c in members):
            winners["most-accurate"] = min(
                members, key=lambda c: (self.measure.key(c.metrics[SCORE]), *_point(c, self.objectives))
            )
        return winners


def knee(points: Sequence[Point]) -> int:
    """Return the index of the knee: the point with the least sum of objectives, each scaled to [0, 1] over ``points``.

    On a line or plane between the extremes that sum is constant, so the least is the farthest below it. An objective
    that does not vary has no say.
    """
    lows = [min(column) for column in zip(*points, strict=True)]
    highs = [max(column) for column in zip(*points, strict=True)]
    ranges = [(low, high - low) for low, high in zip(lows, highs, strict=True)]

    def height(point: Point) -> float:
        return sum((x - low) / span for x, (low, span) in zip(point, ranges, strict=True) if span > 0)

    return min(range(len(points)), key=lambda i: height(points[i]))


def _known(configuration: Configuration, objective: Objective) -> bool:
    value = configuration.metrics.get(objective.name)
    return value is not None and math.isfinite(value)


def _point(configuration: Configuration, objectives: tuple[Objective, ...]) -> Point:
    return point_of(objectives, configuration.metrics)


def _by_cost(configuration: Configuration, objectives: tuple[Objective, ...]) -> Point:
    costs = [o for o in objectives if not o.is_score]
    rest = [o for o in objectives if o.is_score]
    return _point(configuration, (*costs, *rest))


def _scaled(
    value: float | None, objective: Objective, reference: Mapping[str, float], dense: Mapping[str, float | None]
) -> float:
    bound, best = reference[objective.name], dense[objective.name]
    number = float(value or 0.0)
    if not objective.is_score:
        return number / bound
    return 1.0 - (number - bound) / ((0.0 if best is None else best) - bound)


def _is_scale(value: float | None, objective: Objective) -> bool:
    """Return whether a dense network's value can be measured by: any score, a cost above zero."""
    return value is not None and (objective.is_score or value != 0)
