"""AdamW, which transformers are usually trained by: Loshchilov and Hutter, ICLR 2019, arXiv:1711.05101."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from .base import NamedOptimizer


def _build(parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    every = list(parameters)
    # Biases and the scales of normalisations are not decayed, as is usual for transformers.
    groups = [
        {"params": [p for p in every if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in every if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=learning_rate)


ADAMW = NamedOptimizer("AdamW", _build, learning_rate=1e-3, weight_decay=0.01)
