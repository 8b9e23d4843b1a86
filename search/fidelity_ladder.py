"""The ladder of fidelities: candidates begin with no training of their own, and the best of each rung climb.

Asynchronous successive halving (Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020,
arXiv:1810.05934) for several objectives: the best third of a rung is told by non-dominated rank, ties by crowding,
among candidates of comparable cost. Among all candidates small networks would climb merely for being small.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..evaluators.configuration import Configuration
from ..evaluators.objectives import Constraint, Objective, point_of
from ..evaluators.pareto import Point, crowding, dominates, fronts
from .budget.training_budget import LEAST_SAMPLES
from .options import SearchOptions

FACTOR = 4
"""A rung has so many times the training of the one below."""
ONE_IN = 3
"""Of so many candidates of comparable cost the best one climbs."""
COMPARABLE = 1.25
"""Costs up to so many times each other are comparable."""
MOST_PEERS = 48
"""Of more that are comparable the nearest count."""


@dataclass(frozen=True)
class Promotion:
    """A candidate that is to climb to a rung."""

    member: Configuration
    rung: int


@dataclass(frozen=True)
class _Entry:
    configuration: Configuration
    point: Point
    log_cost: float


def rungs(samples: int) -> tuple[int, ...]:
    """Return the rungs, in samples of training of a candidate's own: none at first, in the end ``samples``."""
    between = samples // FACTOR
    return (0, between, samples) if between >= LEAST_SAMPLES else (0, samples)


def climbs(options: SearchOptions, *, rankings: bool) -> bool:
    """Return whether the candidates of a search climb a ladder; what is pruned without rankings inherits nothing."""
    return options.ladder and options.inherit and rankings and options.samples is None


@dataclass
class FidelityLadder:
    """Says which candidate is trained further.

    Args:
        rungs: in samples; fewer than two mean that every candidate is trained in full, and nobody climbs.
        objectives: that candidates are ranked by; costs are comparable by the first that is minimised.
        constraints: a candidate that breaks one on its cost never climbs.
    """

    rungs: Sequence[int] = ()
    objectives: Sequence[Objective] = ()
    constraints: Sequence[Constraint] = ()
    _entries: dict[int, dict[Any, _Entry]] = field(default_factory=dict, init=False)
    """By rung and policy: those that climbed further stay, as others are held against them."""
    _left: set[tuple[int, Any]] = field(default_factory=set, init=False)
    """Rungs and policies that climbed, or tried to."""
    _unjudged: set[tuple[int, Any]] = field(default_factory=set, init=False)
    """Rungs and policies that may be among the best since another of comparable cost came."""

    @property
    def is_used(self) -> bool:
        """Whether candidates begin with no training of their own."""
        return len(self.rungs) > 1

    def add(self, rung: int, configuration: Configuration) -> None:
        """Take in what a candidate came to at a rung."""
        point = point_of(self.objectives, configuration.metrics)
        costs = (configuration.metrics[o.name] for o in self.objectives if not o.is_score)
        cost = float(next(costs, None) or 0.0)
        entry = _Entry(configuration, point, math.log(cost) if cost > 0 else 0.0)
        entries = self._entries.setdefault(rung, {})
        entries[configuration.policy.key] = entry
        self._unjudged.update((rung, other.configuration.policy.key) for other in self._peers(entry, rung))
        self._left.update((below, configuration.policy.key) for below in range(rung))

    def keeps(self, trial: int) -> bool:
        """Return whether a trial's weights may be trained on: it was trained on its rung, and has not left it."""
        return any(
            entry.configuration.trial == trial for rung in self._climbing() if rung for entry in self._here(rung)
        )

    def next(self, front: Container[int]) -> Promotion | None:
        """Return who climbs now, from the highest rung that somebody may leave; ``None`` where nobody may.

        Args:
            front: trials that add to the front's hypervolume: who does with less training than others climbs whatever
                its rank.
        """
        for rung in self._climbing():
            for entry in sorted(self._here(rung), key=lambda e: e.configuration.trial):
                if entry.configuration.trial in front or self._is_among_the_best(entry, rung):
                    return Promotion(entry.configuration, rung + 1)
        return None

    def climb(self, promotion: Promotion) -> None:
        """Take in that a candidate is on its way up; should it fail there, it is not tried again."""
        self._left.add((promotion.rung - 1, promotion.member.policy.key))

    def clear(self) -> None:
        """Forget all candidates: the search is over."""
        self._entries.clear()

    def _climbing(self) -> Iterator[int]:
        yield from range(len(self.rungs) - 2, -1, -1)

    def _here(self, rung: int) -> Iterator[_Entry]:
        """Yield the candidates of a rung that may still leave it."""
        for key, entry in self._entries.get(rung, {}).items():
            if (rung, key) not in self._left and self._fits(entry.configuration):
                yield entry

    def _fits(self, configuration: Configuration) -> bool:
        costs = (c for c in self.constraints if not c.objective.is_score)
        return all(constraint.violation(configuration.metrics) <= 0 for constraint in costs)

    def _peers(self, entry: _Entry, rung: int) -> list[_Entry]:
        """Return those of comparable cost, the entry itself first."""
        others = (other for other in self._entries[rung].values() if other is not entry)
        apart = ((abs(other.log_cost - entry.log_cost), other) for other in others)
        near = sorted((each for each in apart if each[0] <= math.log(COMPARABLE)), key=lambda each: each[0])
        return [entry, *(other for _, other in near[: MOST_PEERS - 1])]

    def _is_among_the_best(self, entry: _Entry, rung: int) -> bool:
        place = (rung, entry.configuration.policy.key)
        if place not in self._unjudged:
            return False
        best = _is_best(self._peers(entry, rung))
        if not best:
            self._unjudged.remove(place)
        return best


def _is_best(entries: Sequence[_Entry]) -> bool:
    """Return whether the first is among the best third: by non-dominated rank, by how far apart others are, by age."""
    points = [entry.point for entry in entries]
    most = len(points) // ONE_IN
    if most == 0 or sum(dominates(point, points[0]) for point in points) >= most:
        return False
    better = 0
    for front in fronts(points):
        if 0 in front:
            order = [(-d, e.configuration.trial) for d, e in zip(crowding(points), entries, strict=True)]
            return better + sum(order[i] < order[0] for i in front) < most
        better += len(front)
        if better >= most:
            return False
    return False
