"""A task: a trained network with its data, loss and metric. It is what the user brings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import TaskError, describe
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
    """A tensor, a tuple or a dict; a batch of 1. A list is of several such inputs, which together take all ways that
    the network has; the first is what costs are told for, and the others become ``further_inputs``."""
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
    further_inputs: Sequence[Inputs] = ()
    """Example inputs on which the network is traced besides the first."""
    reference: str | None = None
    """What loads the task again, such as ``digits`` or ``tasks.py:mine``; set by :func:`load_task`."""

    def __post_init__(self) -> None:
        """Take a list of example inputs apart.

        Raises:
            TaskError: it is empty.
        """
        if isinstance(self.example_input, list):
            if not self.example_input:
                raise TaskError(
                    describe(
                        f"example_input of task {self.name!r} is an empty list",
                        expected="at least one input",
                        remedy="Give a tensor, a tuple of arguments or a dict of them, or a list of several.",
                    )
                )
            first, *others = self.example_input
            object.__setattr__(self, "example_input", first)
            object.__setattr__(self, "further_inputs", (*others, *self.further_inputs))
