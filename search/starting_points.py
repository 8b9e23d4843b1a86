"""The policies that every search tries first, so that it is never worse than what people do by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ..spaces.policy import Policy
from ..spaces.pruning_types import PRUNING_TYPES
from ..spaces.search_space import SearchSpace

LADDER = (0.5, 0.25, 0.75, 0.125, 0.375, 0.625, 0.875)
"""Sparsities, ordered so that a short run covers the range."""
GIVEN = "given"
"""First word of the origin of a policy that the user brought."""


@dataclass(frozen=True)
class StartingPoint:
    """A policy to try, and where it comes from."""

    origin: str
    policy: Policy


def dense(space: SearchSpace) -> Iterable[StartingPoint]:
    """Yield the network as it is: fine-tuned like every candidate, it is what they are compared with."""
    yield StartingPoint("dense", Policy.dense(space.graph))


def uniform_ladder(space: SearchSpace) -> Iterable[StartingPoint]:
    """Yield the same sparsity for every group, at several levels."""
    for sparsity in LADDER:
        policy = Policy.uniform(
            space.graph, sparsity, criterion=space.criteria[0], channel_multiple=space.channel_multiple
        )
        yield StartingPoint(f"uniform {sparsity:.3g}", policy)


def zeroing_ladders(space: SearchSpace) -> Iterable[StartingPoint]:
    """Yield, for each type that zeroes weights and was asked for, the most and the least that it keeps everywhere."""
    for kind in (name for name in space.types if PRUNING_TYPES.get(name).zeroes):
        most = max((len(space.amounts(group, kind)) for group in space.graph), default=0)
        for index in (most - 1, 0) if most else ():
            policy = space.uniform(kind, index)
            words = next(PRUNING_TYPES.get(kind).words(c) for c in policy.choices.values() if c.type == kind)
            yield StartingPoint(f"uniform {words}", policy)


LADDERS: tuple[Callable[[SearchSpace], Iterable[StartingPoint]], ...] = (uniform_ladder, zeroing_ladders)


def starting_points(
    space: SearchSpace, given: Sequence[Policy] = (), path: Sequence[Policy] = ()
) -> tuple[StartingPoint, ...]:
    """Return the starting points of ``space`` at each precision, each policy once, in the order to try them.

    Args:
        space: what may be tried.
        given: the user's own, within ``space``: they come first, each at its own precision.
        path: of shrinking networks, largest first: each is trained before what can take over its weights.
    """
    points: dict[Policy, StartingPoint] = {}
    for number, policy in enumerate(given, start=1):
        points.setdefault(policy, StartingPoint(f"{GIVEN} {number}", policy))
    shrinking = (StartingPoint(f"path {number}", policy) for number, policy in enumerate(path, start=1))
    for kind in (dense(space), shrinking, *(ladder(space) for ladder in LADDERS)):
        for point in kind:
            for precision in space.precisions:
                origin = point.origin if precision == "fp32" else f"{point.origin} {precision}"
                inside = space.policy(space.values(replace(point.policy, precision=precision)))
                points.setdefault(inside, StartingPoint(origin, inside))
    return tuple(points.values())
