"""The policies that every search tries first, so that it is never worse than what people do by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..spaces.policy import Policy
from ..spaces.search_space import SearchSpace

LADDER = (0.5, 0.25, 0.75, 0.125, 0.375, 0.625, 0.875)
"""Sparsities, ordered so that a short run covers the range."""


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


KINDS: tuple[Callable[[SearchSpace], Iterable[StartingPoint]], ...] = (dense, uniform_ladder)


def starting_points(space: SearchSpace) -> tuple[StartingPoint, ...]:
    """Return the starting points of ``space``, each distinct policy once, in the order to try them."""
    points: dict[Policy, StartingPoint] = {}
    for kind in KINDS:
        for point in kind(space):
            inside = space.policy(space.values(point.policy))
            points.setdefault(inside, StartingPoint(point.origin, inside))
    return tuple(points.values())
