"""The same share of zeros for every group, for types that zero weights."""

from __future__ import annotations

from collections.abc import Iterable

from ...spaces.pruning_types import PRUNING_TYPES
from .base import Known, StartingPoint


def zeroing_ladders(known: Known) -> Iterable[StartingPoint]:
    """Yield, for each type that zeroes weights and was asked for, the most and the least that it keeps everywhere."""
    space = known.space
    for kind in (name for name in space.types if PRUNING_TYPES.get(name).zeroes):
        most = max((len(space.amounts(group, kind)) for group in space.graph), default=0)
        for index in (most - 1, 0) if most else ():
            policy = space.uniform(kind, index)
            words = next(PRUNING_TYPES.get(kind).words(c) for c in policy.choices.values() if c.type == kind)
            yield StartingPoint.of_method("uniform", words, policy)
