"""Zeroing single weights wherever they are worth least.

Han et al., "Learning both Weights and Connections for Efficient Neural Networks", NeurIPS 2015, arXiv:1506.02626.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..graph.groups import Group
from ..policy import Choice
from .base import Amount, refuse

LEVELS = (0.95, 0.9, 0.75, 0.5)
"""Sparsities that a search offers; a policy may hold any other."""


class WeightPruning:
    """Keeps the same share of each of the group's weights, so that no layer is emptied for another's sake."""

    zeroes = True
    ranked = True

    def options(self, group: Group, *, channel_multiple: int) -> tuple[Amount, ...]:
        """Return the levels as counts of the group's weights, the sparsest first."""
        of = sum(weight.count for weight in group.weights)
        kept = dict.fromkeys(round((1 - level) * of) for level in LEVELS)
        return tuple((count, of) for count in kept if 1 <= count < of)

    def check(self, group: Group, choice: Choice) -> None:
        """Check that the choice counts the group's weights."""
        of = sum(weight.count for weight in group.weights)
        if choice.of != of or choice.kept >= of:
            raise refuse(group, choice, f"fewer than all of its {of} weights kept")

    def removed(self, group: Group, choice: Choice, ranking: Sequence[int]) -> tuple[int, ...]:
        """Return no channel."""
        return ()

    def kept_weights(self, scores: torch.Tensor, choice: Choice) -> torch.Tensor:
        """Return true for the best weights, the choice's share of them, but at least one."""
        count = max(1, round(scores.numel() * choice.kept / choice.of))
        best = torch.argsort(scores.flatten(), descending=True, stable=True)[:count]
        kept = torch.zeros(scores.numel(), dtype=torch.bool)
        kept[best] = True
        return kept.view(scores.shape)

    def words(self, choice: Choice) -> str:
        """Return ``25 % of the weights``."""
        return f"{100 * choice.kept / choice.of:.3g} % of the weights"
