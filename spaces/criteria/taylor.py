"""First-order Taylor expansion: how much the loss would change if the channel were zero.

Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019, arXiv:1906.10771.
"""

from __future__ import annotations

import torch

from ..groups import Group, Slice
from .base import Evidence, Need, along, mean_of_normalised, per_channel


class Taylor:
    """The squared sum of gradient times weight over a channel's parameters that produce it."""

    needs: frozenset[Need] = frozenset({"gradients"})

    def applies(self, group: Group, evidence: Evidence) -> bool:
        """Return whether a parameter that produces the group's channels has a gradient."""
        return bool(self._producers(group, evidence))

    def scores(self, group: Group, evidence: Evidence) -> torch.Tensor:
        """Return the estimated squared change of the loss for each channel, shape ``(channels,)``."""
        changes = [self._change(piece, evidence).pow(2) for piece in self._producers(group, evidence)]
        return mean_of_normalised(changes)

    def element_scores(self, tensor: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """Return the estimated squared change of the loss for each weight, in the shape of ``tensor``."""
        return (tensor * gradient).pow(2)

    def _change(self, piece: Slice, evidence: Evidence) -> torch.Tensor:
        product = evidence.tensors[piece.tensor].detach() * evidence.gradients[piece.tensor]
        return per_channel(piece, along(product.unsqueeze(-1), piece.dim).sum(1))

    def _producers(self, group: Group, evidence: Evidence) -> list[Slice]:
        return [
            s
            for s in group.slices
            if s.produces and s.tensor in evidence.gradients and evidence.tensors[s.tensor].dim() >= 2
        ]
