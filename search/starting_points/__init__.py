"""The policies that every search tries first, so that it is never worse than what people do by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...spaces.policy import Policy
from ..run_folder.origin import Origin, OriginKind
from .base import Known, Ladder, StartingPoint
from .global_ranking import global_ladder
from .knapsack import knapsack_ladder
from .sensitivity import sensitivity_ladder
from .threshold import threshold_sweep
from .uniform import uniform_ladder
from .zeroing import zeroing_ladders

__all__ = ["LADDERS", "Known", "StartingPoint", "starting_points"]

LADDERS: tuple[Ladder, ...] = (
    knapsack_ladder,
    uniform_ladder,
    zeroing_ladders,
    threshold_sweep,
    sensitivity_ladder,
    global_ladder,
)


def starting_points(
    known: Known, given: Sequence[Policy] = (), path: Sequence[Policy] = ()
) -> tuple[StartingPoint, ...]:
    """Return the starting points of a space at each precision, each policy once, in the order to try them.

    Args:
        known: the space, and what is known of its groups.
        given: the user's own, within the space: they come first, each at its own precision.
        path: of shrinking networks, largest first: each is trained before what can take over its weights.
    """
    space = known.space
    points: dict[Policy, StartingPoint] = {}
    for number, policy in enumerate(given, start=1):
        points.setdefault(policy, StartingPoint(Origin(OriginKind.GIVEN, detail=str(number)), policy))
    dense = [StartingPoint(Origin(OriginKind.DENSE), Policy.dense(space.graph))]
    shrinking = [
        StartingPoint(Origin(OriginKind.PATH, detail=str(number)), policy)
        for number, policy in enumerate(path, start=1)
    ]
    for kind in (dense, shrinking, *(ladder(known) for ladder in LADDERS)):
        for point in kind:
            for precision in space.precisions:
                origin = replace(point.origin, precision=precision)
                inside = space.policy(space.values(replace(point.policy, precision=precision)))
                points.setdefault(inside, StartingPoint(origin, inside))
    return tuple(points.values())
