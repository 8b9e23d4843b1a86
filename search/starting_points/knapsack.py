"""The most cost saved for the least loss, group by group: the networks of the path's walk that it did not train."""

from __future__ import annotations

from collections.abc import Iterable

from ..sensitivity.nested_levels import walk
from .base import Known, StartingPoint

NETWORKS = 8


def knapsack_ladder(known: Known) -> Iterable[StartingPoint]:
    """Yield networks of the walk, at even distances; none where losses are not known."""
    steps = tuple(walk(known.space, known.table))
    places = {round(i * (len(steps) - 1) / max(1, NETWORKS - 1)) for i in range(NETWORKS)} if steps else set()
    for place in sorted(places):
        yield StartingPoint.of_method("knapsack", steps[place].cost, steps[place].policy)
