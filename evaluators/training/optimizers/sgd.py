"""SGD with Nesterov momentum, which convolutional networks are usually fine-tuned by."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from .base import NamedOptimizer


def _build(parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=learning_rate, momentum=0.9, nesterov=True, weight_decay=weight_decay)


def _rate(model: nn.Module) -> float:
    del model
    return 0.01


SGD = NamedOptimizer("SGD", _build, _rate, weight_decay=1e-4)
