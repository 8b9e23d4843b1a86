"""How the training along the path of shrinking networks is shared out among its networks.

A network deserves training where its step saved much and broke much: what saves nothing adds nothing to the front, and
what lost nothing needs no mending. How much a told loss comes to after training shows with the first networks; the more
of the way to the reference point a later one is then expected to lose, the less it gets, and what is expected to end
below it adds nothing to the front's hypervolume and is not trained at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from ...evaluators.objectives import SCORE
from ...evaluators.task.measure import ACCURACY, Measure
from ...spaces.policy import Policy
from ..sensitivity.nested_levels import Level
from ..sensitivity.table import LEAST_LOSS
from .shares import EVEN_SHARE

LEAST_ROOM = 0.1
"""A network expected near or below the reference point gets so much of its share: what is told may be wrong."""
REACH = 4.0
"""Up to so many times the loss of a network that was trained, what it lost tells which others are not worth training:
first steps are small, and what they lose is mostly chance."""


@dataclass(frozen=True)
class _Lost:
    """What a trained network lost."""

    told: float
    """Of its loss, before training."""
    real: float
    """Of its score, as a share of what is between the dense network and the reference point."""


@dataclass
class PathTraining:
    """Weighs the networks of a path.

    Args:
        levels: of the path, largest first.
        reaches_below: whether networks below the reference point are wanted too, as for a constraint.
        measure: what the score is.
    """

    levels: Sequence[Level] = ()
    reaches_below: bool = False
    measure: Measure = ACCURACY
    _lost: list[_Lost] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._weights = _weights(self.levels)
        self._losses = {level.policy: level.loss for level in self.levels}

    def learn(self, policy: Policy, metrics: Mapping[str, float | None], dense: Mapping[str, float | None]) -> None:
        """Take in what a network of the path lost for good; of any other nothing is learned.

        Args:
            policy: that was trained.
            metrics: its own, once trained.
            dense: those of the dense network.
        """
        loss, score, best = self._losses.get(policy, 0.0), metrics.get(SCORE), dense.get(SCORE)
        if loss > LEAST_LOSS and score is not None and best is not None:
            self._lost.append(_Lost(loss, max(0.0, self.measure.loss(score, best)) / self.measure.room(best)))

    def weight(self, policy: Policy) -> float:
        """Return how much training a network deserves beside the others."""
        return self._weights[policy] * max(LEAST_ROOM, self._room(policy))

    def is_hopeless(self, policy: Policy) -> bool:
        """Return whether a network of the path is expected to end below the reference point."""
        trained = replace(policy, precision="fp32")
        if self.reaches_below or not self._lost or trained not in self._losses:
            return False
        last = max(self._lost, key=lambda each: each.told)
        return last.real * min(REACH, self._losses[trained] / last.told) >= 1

    def _room(self, policy: Policy) -> float:
        """Return how far above the reference point a network is expected, as a share of what the dense one is."""
        if self.reaches_below or not self._lost:
            return 1.0
        # The least ratio: to train a network too little that would have been good costs more than the other way round.
        return 1.0 - min(each.real / each.told for each in self._lost) * self._losses[policy]


def _weights(levels: Sequence[Level]) -> Mapping[Policy, float]:
    ends = pairwise([(1.0, 0.0), *((level.cost, level.loss) for level in levels)])
    steps = [math.sqrt(max(0.0, high - low) * max(0.0, after - before)) for (high, before), (low, after) in ends]
    whole = sum(steps) or 1.0
    even = EVEN_SHARE / max(1, len(levels))
    return {level.policy: even + (1 - EVEN_SHARE) * step / whole for level, step in zip(levels, steps, strict=True)}
