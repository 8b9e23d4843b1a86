"""On what a task's network is followed and compared: its example inputs, and real ones."""

from __future__ import annotations

from typing import Any

from ...spaces.importance.samples import batch_size, take
from ...spaces.inputs import Inputs
from .data import as_network_input, batches
from .task import Task

_SAMPLES = 2


def example_inputs(task: Task) -> list[Inputs]:
    """Return the task's example inputs, the one that costs are told for first, and the first validation samples.

    A network that decides by values may take other ways on real inputs than on an example of zeros.
    """
    return [task.example_input, *task.further_inputs, validation_batch(task)]


def validation_batch(task: Task) -> Any:
    """Return the inputs of the first two validation samples; of batches that cannot be cut, a whole one."""
    inputs, _ = next(batches(task.validation, name="validation", task=task).walk(_SAMPLES, limit=_SAMPLES))
    shaped = as_network_input(inputs, task.example_input)
    size = batch_size(shaped)
    cut = shaped if size is None else take(shaped, 0, _SAMPLES)
    return tuple(cut) if isinstance(cut, list) else cut
