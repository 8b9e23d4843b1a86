"""Uniform levels, each cut from the fine-tuned level before it: training compounds along the path.

Han et al., "Learning both Weights and Connections for Efficient Neural Networks", NeurIPS 2015, arXiv:1506.02626, prune
and train in turns; Torch-Pruning's ``iterative_steps`` does the same for channels.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..base import METHODS, Candidate
from ..cutting import Cutter
from ..levels import LEVELS, distinct
from ..setting import Setting


class IterativeUniform:
    """Six uniform levels along one path."""

    description = "one ratio for all layers; six levels, each from the fine-tuned level before it"

    def search(self, setting: Setting) -> Iterator[Candidate]:
        """Yield the six levels."""
        cutter = Cutter.of(setting.dense, setting.example_input)
        levels = distinct((f"uniform {ratio:.3f}", cutter.uniform(ratio)) for ratio in LEVELS)
        network, seen = setting.dense, 0
        for done, (label, widths) in enumerate(levels):
            small = cutter.cut(network, widths)
            network, samples = setting.train_for(small, setting.budget.left / (len(levels) - done))
            seen += samples
            yield Candidate(network, label, seen)


METHODS.add("iterative-uniform", IterativeUniform())
