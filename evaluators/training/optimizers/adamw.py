"""AdamW, which transformers are usually trained by: Loshchilov and Hutter, ICLR 2019, arXiv:1711.05101."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from .base import NamedOptimizer

_RATE_AT_64 = 3e-3
_RATE_OF_UNKNOWN_WIDTH = 1e-3


def _build(parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    every = list(parameters)
    # Biases and the scales of normalisations are not decayed, as is usual for transformers.
    groups = [
        {"params": [p for p in every if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in every if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=learning_rate)


def rate_of_width(model: nn.Module) -> float:
    """Return the learning rate that suits a network's width: 0.003 up to a width of 64, and less in proportion beyond.

    Adam's best rate falls with one over the width: Yang et al., "Tensor Programs V", 2022, arXiv:2203.03466. At a width
    of 768 it is 0.00025. The rate at 64 was found by ``benchmarks/optimizers.py``.
    """
    width = max((_width(module) for module in model.modules()), default=0)
    return _RATE_AT_64 * min(1.0, 64 / width) if width else _RATE_OF_UNKNOWN_WIDTH


def _width(module: nn.Module) -> int:
    if isinstance(module, nn.MultiheadAttention):
        return module.embed_dim
    shape = getattr(module, "normalized_shape", None)
    return int(shape[-1]) if isinstance(shape, (tuple, list)) and shape else 0


ADAMW = NamedOptimizer("AdamW", _build, rate_of_width, weight_decay=0.01)
