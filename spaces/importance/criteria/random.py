"""A random ranking: what every other criterion must beat.

Li et al., "Revisiting Random Channel Pruning for Neural Network Compression", CVPR 2022, arXiv:2205.05676.
"""

from __future__ import annotations

import torch

from ...graph.groups import Group
from .base import Need, Statistics


class Random:
    """Uniform random scores, drawn from the statistics's generator."""

    needs: frozenset[Need] = frozenset()

    def applies(self, group: Group, statistics: Statistics) -> bool:
        """Return ``True``: chance can rank anything."""
        return True

    def scores(self, group: Group, statistics: Statistics) -> torch.Tensor:
        """Return uniform scores, shape ``(channels,)``."""
        return torch.rand(group.channels, generator=statistics.generator)
