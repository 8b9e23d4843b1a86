"""The same sparsity for every group."""

from __future__ import annotations

from collections.abc import Iterable

from ...spaces.policy import Policy
from .base import Known, StartingPoint

SPARSITIES = (0.5, 0.25, 0.75, 0.125, 0.375, 0.625, 0.875)
"""Ordered so that a short run covers the range."""


def uniform_ladder(known: Known) -> Iterable[StartingPoint]:
    """Yield the same sparsity for every group, at several levels."""
    space = known.space
    for sparsity in SPARSITIES:
        policy = Policy.uniform(
            space.graph, sparsity, criterion=space.criteria[0], channel_multiple=space.channel_multiple
        )
        yield StartingPoint.of_method("uniform", sparsity, policy)
