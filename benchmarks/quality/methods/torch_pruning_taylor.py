"""Torch-Pruning's Taylor criterion, ranked globally as in the paper.

Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019, arXiv:1906.10771.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
import torch_pruning as tp
from torch import nn

from espalier.evaluators.task.data import as_network_input, batches
from espalier.evaluators.task.losses import loss_of

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

        gradients = _gradients(setting)

        def prepare(model: nn.Module) -> None:
            for name, parameter in model.named_parameters():
                parameter.grad = gradients[name].clone()

        scores = cutter.importances(setting.dense, importance, prepare)

        def cut(model: nn.Module, widths: Widths) -> nn.Module:
            return cutter.cut_by(model, widths, scores)

        levels = distinct(
            (f"taylor {ratio:.3f}", cutter.pruner_widths(setting.dense, ratio, importance, prepare=prepare))
            for ratio in LEVELS
        )
        yield from trained_from_dense(setting, cutter, levels, cut=cut)


def _gradients(setting: Setting) -> dict[str, torch.Tensor]:
    """Return each parameter's gradient over some training samples; all six levels rank by the same."""
    model, task = copy.deepcopy(setting.dense), setting.task
    for inputs, targets in batches(task.train, name="train", task=task).walk(
        task.batch_size, generator=setting.generator(), limit=GRADIENT_SAMPLES
    ):
        loss_of(task)(model(as_network_input(inputs, task.example_input)), targets).backward()
    return {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in model.named_parameters()}


METHODS.add("torch-pruning-taylor", TorchPruningTaylor())
