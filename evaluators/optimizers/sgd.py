"""SGD with Nesterov momentum, which convolutional networks are usually fine-tuned by."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from .base import NamedOptimizer


def _build(parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=learning_rate, momentum=0.9, nesterov=True, weight_decay=weight_decay)


SGD = NamedOptimizer("SGD", _build, learning_rate=0.01, weight_decay=1e-4)
