"""BatchNorm scale: a channel that its normalisation scales down matters little.

Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017, arXiv:1708.06519.
"""

from __future__ import annotations

import torch

from ...graph.groups import Group, Slice
from .base import Need, Statistics, mean_of_normalised, per_channel


class BatchNormScale:
    """The absolute BatchNorm weight of a channel, averaged over the BatchNorms of the group."""

    needs: frozenset[Need] = frozenset()

    def applies(self, group: Group, statistics: Statistics) -> bool:
        """Return whether a BatchNorm with weights stands in the group."""
        return bool(self._scales(group, statistics))

    def scores(self, group: Group, statistics: Statistics) -> torch.Tensor:
        """Return the mean absolute scale of each channel, shape ``(channels,)``."""
        scales = self._scales(group, statistics)
        return mean_of_normalised([per_channel(s, statistics.tensors[s.tensor].detach().abs().float()) for s in scales])

    def _scales(self, group: Group, statistics: Statistics) -> list[Slice]:
        return [s for s in group.slices if s.layer in statistics.norm_layers and s.tensor.endswith("weight")]
