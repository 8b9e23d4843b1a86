"""Torch-Pruning, the same ratio everywhere (Fang et al., "DepGraph", CVPR 2023, arXiv:2301.12900)."""

from __future__ import annotations

from collections.abc import Iterator

from ..base import METHODS, Candidate
from ..cutting import Cutter
from ..levels import LEVELS, distinct, trained_from_dense
from ..setting import Setting


class TorchPruningUniform:
    """Six uniform levels, each cut from the dense network."""

    description = "Torch-Pruning, one ratio for all layers; six levels, each from the dense network"

    def search(self, setting: Setting) -> Iterator[Candidate]:
        """Yield the six levels."""
        cutter = Cutter.of(setting.dense, setting.example_input)
        levels = distinct((f"uniform {ratio:.3f}", cutter.uniform(ratio)) for ratio in LEVELS)
        yield from trained_from_dense(setting, cutter, levels)


METHODS.add("torch-pruning-uniform", TorchPruningUniform())
