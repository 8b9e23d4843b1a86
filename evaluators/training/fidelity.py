"""How many training samples an evaluation sees unless told otherwise."""

from __future__ import annotations

from ..task.data import batches
from ..task.task import Task

RECALIBRATION_SAMPLES = 512
PROBE_SAMPLES = 1_000
"""Accuracy after recalibration alone and accuracy on training data are taken on at most so many samples."""
_EPOCHS = 4
_MOST = 12_800


def default_samples(task: Task) -> int:
    """Return the fidelity of a search: four epochs of the training data, and 12,800 samples at most."""
    return min(_EPOCHS * batches(task.train, name="train", task=task).samples, _MOST)
