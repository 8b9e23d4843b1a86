"""First-order Taylor expansion: how much the loss would change if the channel were zero.

Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019, arXiv:1906.10771: the squared sum of
gradient times weight over a channel, averaged over batches. The batches here are single samples, as in the channel form
of Theis et al., 2018, arXiv:1801.05787: in a trained network the gradients of many samples cancel, and what is left of
their sum is mostly noise.
"""

from __future__ import annotations

import torch

from ...graph.groups import Group, Slice
from .base import Need, Statistics, mean_of_normalised, per_channel


class Taylor:
    """The mean over samples of the squared sum of gradient times weight over the weights that produce a channel."""

    needs: frozenset[Need] = frozenset({"sample_changes"})

    def applies(self, group: Group, statistics: Statistics) -> bool:
        """Return whether a weight that produces the group's channels has a gradient."""
        return bool(self._producers(group, statistics))

    def scores(self, group: Group, statistics: Statistics) -> torch.Tensor:
        """Return the estimated squared change of the loss for each channel, shape ``(channels,)``."""
        return mean_of_normalised([self._change(piece, statistics) for piece in self._producers(group, statistics)])

    def _change(self, piece: Slice, statistics: Statistics) -> torch.Tensor:
        return per_channel(piece, statistics.sample_changes[piece.tensor, piece.dim].T).square().mean(1)

    def _producers(self, group: Group, statistics: Statistics) -> list[Slice]:
        return [s for s in group.slices if s.produces and (s.tensor, s.dim) in statistics.sample_changes]
