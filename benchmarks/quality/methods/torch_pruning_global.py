"""Torch-Pruning's global pruning: one threshold on normalised group L2 norms for the whole network."""

from __future__ import annotations

from collections.abc import Iterator

import torch_pruning as tp

from ..base import METHODS, Candidate
from ..cutting import Cutter
from ..levels import LEVELS, distinct, trained_from_dense
from ..setting import Setting


class TorchPruningGlobal:
    """Six levels by one global ranking, each cut from the dense network."""

    description = "Torch-Pruning, global ranking of group norms; six levels, each from the dense network"

    def search(self, setting: Setting) -> Iterator[Candidate]:
        """Yield the six levels."""
        cutter = Cutter.of(setting.dense, setting.example_input)
        importance = tp.importance.GroupMagnitudeImportance(p=2)
        levels = distinct(
            (f"global {ratio:.3f}", cutter.pruner_widths(setting.dense, ratio, importance)) for ratio in LEVELS
        )
        yield from trained_from_dense(setting, cutter, levels)


METHODS.add("torch-pruning-global", TorchPruningGlobal())
