"""The training samples that criteria look at."""

from __future__ import annotations

import torch

from ...spaces.importance.samples import RANKING_SAMPLES, Samples, at_most
from .data import as_network_input, batches
from .losses import loss_of
from .task import Task


def ranking_samples(task: Task, *, seed: int = 0) -> Samples:
    """Return at most 256 training samples, shuffled, as training data may be sorted by class, and the task's loss."""
    generator = torch.Generator().manual_seed(seed)
    found = batches(task.train, name="train", task=task)
    walk = found.walk(task.batch_size, generator=generator, limit=RANKING_SAMPLES)
    shaped = ((as_network_input(inputs, task.example_input), targets) for inputs, targets in walk)
    return Samples(at_most(shaped, RANKING_SAMPLES), loss_of(task))
