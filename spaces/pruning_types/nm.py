"""Keeping N of each M weights, the pattern that sparse tensor cores run.

Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021, arXiv:2104.08378 (2:4); Zhou et al., "Learning N:M
Fine-grained Structured Sparse Neural Networks From Scratch", ICLR 2021, arXiv:2102.04010 (any N:M).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..graph.groups import Group
from ..policy import Choice
from .base import Amount, refuse

PATTERNS: tuple[Amount, ...] = ((1, 4), (2, 4), (4, 8))
"""What a search offers; a policy may hold any other."""


class PatternPruning:
    """Zeroes all but the best N of each M weights that read neighbouring input channels at one kernel position.

    Input channels beyond the last whole M stay dense, so a weight with fewer than M of them is left as it is.
    """

    zeroes = True
    ranked = True

    def options(self, group: Group, *, channel_multiple: int) -> tuple[Amount, ...]:
        """Return the patterns that fit at least one of the group's weights, the sparsest first."""
        widest = max((weight.inputs for weight in group.weights), default=0)
        return tuple(pattern for pattern in PATTERNS if pattern[1] <= widest)

    def check(self, group: Group, choice: Choice) -> None:
        """Check that the choice is N of M with N below M."""
        if choice.kept >= choice.of:
            raise refuse(group, choice, "fewer weights kept than there are in each block, such as 2 of 4")

    def removed(self, group: Group, choice: Choice, ranking: Sequence[int]) -> tuple[int, ...]:
        """Return no channel."""
        return ()

    def kept_weights(self, scores: torch.Tensor, choice: Choice) -> torch.Tensor:
        """Return true for the best ``choice.kept`` of each ``choice.of`` neighbouring input channels."""
        rows, positions, inputs = scores.shape
        whole = inputs - inputs % choice.of
        kept = torch.ones_like(scores, dtype=torch.bool)
        blocks = scores[..., :whole].reshape(rows, positions, -1, choice.of)
        best = torch.zeros_like(blocks, dtype=torch.bool)
        # Stable, so that of equally good weights the first stay: the same ones on every machine.
        order = torch.argsort(blocks, dim=-1, descending=True, stable=True)[..., : choice.kept]
        kept[..., :whole] = best.scatter_(-1, order, True).reshape(rows, positions, whole)
        return kept

    def words(self, choice: Choice) -> str:
        """Return ``2:4``."""
        return f"{choice.kept}:{choice.of} weights"
