"""An optimiser that a task can name: how it is built, and what it is built with where the task says nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn

Build = Callable[[Iterable[nn.Parameter], float, float], torch.optim.Optimizer]
"""Parameters, learning rate and weight decay to an optimiser."""


@dataclass(frozen=True)
class NamedOptimizer:
    """One optimiser."""

    title: str
    build: Build
    rate_for: Callable[[nn.Module], float]
    """The default peak of a network."""
    weight_decay: float
    """The default."""
