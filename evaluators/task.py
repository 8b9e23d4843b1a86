"""A task: a trained network with its data, loss and metric. It is what the user brings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..spaces.inputs import Inputs

Data = Any
"""``(x, y)`` tensors with samples along dimension 0, a ``Dataset`` of such pairs, or a ``DataLoader`` of batches."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A trained network and everything needed to fine-tune and judge it."""

    name: str
    model: Callable[[], nn.Module]
    """Builds the trained network: eval mode, on the CPU."""
    example_input: Inputs
    """A tensor, a tuple or a dict; a batch of 1."""
    train: Data
    validation: Data
    """Steers the search."""
    test: Data | None = None
    """Read once, for the report."""
    loss: Callable[[Any, Any], torch.Tensor] = F.cross_entropy
    """``(outputs, targets)`` to a scalar tensor."""
    metric: str | Callable[[Any, Any], float] = "accuracy"
    """A name, or ``(outputs, targets)`` to a number where higher is better."""
    augment: Callable[[torch.Tensor, torch.Generator], torch.Tensor] | None = None
    """Changes a batch of training inputs at random, drawing from the generator given."""
    batch_size: int = 128
    learning_rate: float = 0.01
    freeze: Sequence[str] = ()
    """Names of layers never to prune."""
    fine_tune: Callable[..., nn.Module] | None = None
    """Replaces the built-in loop: ``(model, task, samples, generator)`` to the trained network."""
    evaluate: Callable[..., float] | None = None
    """Replaces the built-in metric loop: ``(model, data)`` to a number where higher is better."""
    dynamic: Mapping[str, Mapping[int, str]] | None = None
    """Axes whose size varies besides the batch, by input, such as ``{"input_ids": {1: "length"}}``; exported files take
    any size there. Unless given, axes are found whose size differs between the example and samples of the data."""
    reference: str | None = None
    """What loads the task again, such as ``digits`` or ``tasks.py:mine``; set by :func:`load_task`."""
