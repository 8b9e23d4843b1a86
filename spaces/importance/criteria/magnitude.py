"""Weight magnitude: a channel whose weights are small matters little.

Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, arXiv:1608.08710 (l1 of the filters); summed over all
tensors of the group as in DepGraph, arXiv:2301.12900.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...graph.groups import Group
from .base import Need, Statistics, along, mean_of_normalised, per_channel, weight_slices


@dataclass(frozen=True)
class Magnitude:
    """The l1 or l2 norm of a channel's weights, averaged over the tensors of the group."""

    order: int

    @property
    def needs(self) -> frozenset[Need]:
        """Nothing: weights alone decide."""
        return frozenset()

    def applies(self, group: Group, statistics: Statistics) -> bool:
        """Return whether the group has a convolution or linear weight."""
        return bool(weight_slices(group, statistics))

    def scores(self, group: Group, statistics: Statistics) -> torch.Tensor:
        """Return the mean norm of each channel, shape ``(channels,)``."""
        norms = []
        for piece in weight_slices(group, statistics):
            powers = along(statistics.tensors[piece.tensor], piece.dim).abs().pow(self.order).sum(1)
            norms.append(per_channel(piece, powers).pow(1 / self.order))
        return mean_of_normalised(norms)
