"""Torch-Pruning's Taylor criterion, ranked globally as in the paper.

Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019, arXiv:1906.10771.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch_pruning as tp
from torch import nn

from espalier.evaluators.data import as_network_input, batches

from ..base import METHODS, Candidate
from ..cutting import Cutter, Widths
from ..levels import LEVELS, distinct, trained_from_dense
from ..setting import Setting

GRADIENT_SAMPLES = 1024


class TorchPruningTaylor:
    """Six levels by one global ranking of first-order losses, each cut from the dense network."""

    description = "Torch-Pruning, global Taylor ranking; six levels, each from the dense network"

    def search(self, setting: Setting) -> Iterator[Candidate]:
        """Yield the six levels."""
        cutter = Cutter.of(setting.dense, setting.example_input)
        importance = tp.importance.GroupTaylorImportance()

        def prepare(model: nn.Module) -> None:
            _accumulate(model, setting)

        scores = cutter.importances(setting.dense, importance, prepare)

        def cut(model: nn.Module, widths: Widths) -> nn.Module:
            return cutter.cut_by(model, widths, scores)

        levels = distinct(
            (f"taylor {ratio:.3f}", cutter.pruner_widths(setting.dense, ratio, importance, prepare=prepare))
            for ratio in LEVELS
        )
        yield from trained_from_dense(setting, cutter, levels, cut=cut)


def _accumulate(model: nn.Module, setting: Setting) -> None:
    task, generator = setting.task, setting.generator()
    for inputs, targets in batches(task.train, name="train").walk(
        task.batch_size, generator=generator, limit=GRADIENT_SAMPLES
    ):
        task.loss(model(as_network_input(inputs, task.example_input)), targets).backward()


METHODS.add("torch-pruning-taylor", TorchPruningTaylor())
