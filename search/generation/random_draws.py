"""Policies drawn at random, where the sampler proposes nothing but what is known."""

from __future__ import annotations

import random

from ...spaces.search_space import SearchSpace
from ..archive import Archive
from ..distributions import draw
from ..run_folder.origin import Origin, OriginKind
from .base import Running, Suggestion, policies_under_way

MAX_DRAWS = 1000
"""How many draws in a row may be known before the space counts as exhausted."""


class RandomSource:
    """Draws policies that nobody has tried."""

    def __init__(self, space: SearchSpace, archive: Archive, generator: random.Random) -> None:
        self._space = space
        self._archive = archive
        self._generator = generator

    def suggest(self, running: Running) -> Suggestion | None:
        """Return one; ``None`` where many draws found nothing new."""
        under_way = policies_under_way(running)
        for _ in range(MAX_DRAWS):
            values = draw(self._space, self._generator)
            policy = self._space.policy(values)
            if policy.key not in under_way and self._archive.outcome(policy) is None:
                return Suggestion(values, Origin(OriginKind.RANDOM))
        return None
