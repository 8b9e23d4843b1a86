"""Geometric median: a filter near all the others can be replaced by them.

He et al., "Filter Pruning via Geometric Median for Deep Convolutional Neural Networks Acceleration", CVPR 2019,
arXiv:1811.00250.
"""

from __future__ import annotations

import torch

from ...graph.groups import Group, Slice
from .base import Need, Statistics, along, mean_of_normalised, per_channel, weight_slices


class GeometricMedian:
    """The sum of a filter's distances to all other filters of its layer."""

    needs: frozenset[Need] = frozenset()

    def applies(self, group: Group, statistics: Statistics) -> bool:
        """Return whether a convolution or linear layer produces the group's channels."""
        return bool(self._filters(group, statistics))

    def scores(self, group: Group, statistics: Statistics) -> torch.Tensor:
        """Return the summed distances of each channel, shape ``(channels,)``."""
        sums = []
        for piece in self._filters(group, statistics):
            filters = along(statistics.tensors[piece.tensor], piece.dim)
            sums.append(per_channel(piece, torch.cdist(filters, filters).sum(1)))
        return mean_of_normalised(sums)

    def _filters(self, group: Group, statistics: Statistics) -> list[Slice]:
        return [s for s in weight_slices(group, statistics) if s.produces]
