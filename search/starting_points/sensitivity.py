"""A level for the whole network, bent by how sensitive each group is."""

from __future__ import annotations

from collections.abc import Iterable

from ..resolutions.bending import bent
from .base import Known, StartingPoint

LEVELS = (0.5, 0.25, 0.75)


def sensitivity_ladder(known: Known) -> Iterable[StartingPoint]:
    """Yield networks whose sensitive groups keep more; none where losses are not known."""
    for level in LEVELS if any(known.table.steps.values()) else ():
        bent_by_level = bent(known.space, known.table, level, temperature=1.0)
        yield StartingPoint.of_method("sensitivity", level, bent_by_level)
