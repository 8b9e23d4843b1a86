"""BatchNorm scale: a channel that its normalisation scales down matters little.

Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017, arXiv:1708.06519.
"""

from __future__ import annotations

import torch

from ...graph.groups import Group, Slice
from .base import Evidence, Need, mean_of_normalised, per_channel


class BatchNormScale:
    """The absolute BatchNorm weight of a channel, averaged over the BatchNorms of the group."""

    needs: frozenset[Need] = frozenset()

    def applies(self, group: Group, evidence: Evidence) -> bool:
        """Return whether a BatchNorm with weights stands in the group."""
        return bool(self._scales(group, evidence))

    def scores(self, group: Group, evidence: Evidence) -> torch.Tensor:
        """Return the mean absolute scale of each channel, shape ``(channels,)``."""
        scales = self._scales(group, evidence)
        return mean_of_normalised([per_channel(s, evidence.tensors[s.tensor].detach().abs().float()) for s in scales])

    def _scales(self, group: Group, evidence: Evidence) -> list[Slice]:
        return [s for s in group.slices if s.layer in evidence.norm_layers and s.tensor.endswith("weight")]
