"""Torch-Pruning's isomorphic pruning: layers are ranked with others of like structure only.

Fang et al., "Isomorphic Pruning for Vision Models", ECCV 2024, arXiv:2407.04616.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch_pruning as tp

from ..base import METHODS, Candidate
from ..cutting import Cutter
from ..levels import LEVELS, distinct, trained_from_dense
from ..setting import Setting


class TorchPruningIsomorphic:
    """Six levels by rankings among like groups, each cut from the dense network."""

    description = "Torch-Pruning, ranking among isomorphic groups; six levels, each from the dense network"

    def search(self, setting: Setting) -> Iterator[Candidate]:
        """Yield the six levels."""
        cutter = Cutter.of(setting.dense, setting.example_input)
        importance = tp.importance.GroupMagnitudeImportance(p=2)
        levels = distinct(
            (f"isomorphic {ratio:.3f}", cutter.pruner_widths(setting.dense, ratio, importance, isomorphic=True))
            for ratio in LEVELS
        )
        yield from trained_from_dense(setting, cutter, levels)


METHODS.add("torch-pruning-isomorphic", TorchPruningIsomorphic())
