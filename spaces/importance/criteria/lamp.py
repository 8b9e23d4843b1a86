"""LAMP: the squared magnitude relative to all that is at least as large, which compares across layers.

Lee et al., "Layer-adaptive Sparsity for the Magnitude-based Pruning", ICLR 2021, arXiv:2010.07611. There it scores the
single weights of a layer: ``w[u]^2 / sum of w[v]^2 over all v with w[v]^2 >= w[u]^2``. Here the channels of a group
take the place of the weights of a layer, and a channel's group magnitude, as ``l2`` has it, that of the weight's.

Within one group this orders channels as ``l2`` does. Its worth is in comparing across groups: the largest channel of
every group scores 1, so a threshold on the score sets a sparsity for each group without emptying any. For single
weights use :func:`lamp_scores`.
"""

from __future__ import annotations

import torch

from ...graph.groups import Group
from .base import Need, Statistics
from .magnitude import Magnitude


class LayerAdaptiveMagnitude:
    """The LAMP score of each channel's l2 group magnitude, in [0, 1]."""

    needs: frozenset[Need] = frozenset()

    def __init__(self) -> None:
        self._magnitude = Magnitude(order=2)

    def applies(self, group: Group, statistics: Statistics) -> bool:
        """Return whether the group has a convolution or linear weight."""
        return self._magnitude.applies(group, statistics)

    def scores(self, group: Group, statistics: Statistics) -> torch.Tensor:
        """Return the score of each channel, shape ``(channels,)``; the largest channel's is 1."""
        return lamp_scores(self._magnitude.scores(group, statistics))


def lamp_scores(magnitudes: torch.Tensor) -> torch.Tensor:
    """Return the LAMP score of each magnitude, or of each weight of a layer, in [0, 1].

    Equal magnitudes score the same, whatever their order (the paper leaves ties open).

    Args:
        magnitudes: of any shape and sign.

    Returns:
        The same shape; all zero where all magnitudes are.
    """
    squares = magnitudes.detach().double().square().flatten()
    ascending = squares.sort().values
    at_least = ascending.flip(0).cumsum(0).flip(0)
    first_equal = torch.searchsorted(ascending, squares)
    scores = squares / at_least[first_equal].clamp_min(torch.finfo(torch.float64).tiny)
    return scores.float().reshape(magnitudes.shape)
