"""How good a network is on data, by its task's metric."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

from ..errors import EvaluationError, describe
from ..spaces.inputs import call, channels_last, tensors_of
from .data import as_network_input, batches
from .metrics import metric_of
from .task import Task

_BATCH = 64
"""Small enough for a processor's caches: 22 to 38 % less time a sample than at 256 on three networks."""


def score(model: nn.Module, task: Task, data: Any, *, limit: int | None = None) -> float:
    """Return the task's metric of ``model`` on ``data``, taken over all of it at once.

    Args:
        model: the network; left in eval mode.
        task: says which metric, or replaces this loop by its ``evaluate``.
        data: in any form that a task's data may have.
        limit: looks at no more samples than this.

    Raises:
        EvaluationError: the metric is not finite.
    """
    model.eval()
    value = task.evaluate(model, data) if task.evaluate is not None else _measure(model, task, data, limit)
    if not math.isfinite(value):
        raise EvaluationError(
            describe(
                f"metric {task.metric!r} gave {value}", expected="a finite number", remedy="Check the task's metric."
            )
        )
    return float(value)


def validation_loss(model: nn.Module, task: Task, *, limit: int, forward: Callable[[Any], Any] | None = None) -> float:
    """Return how bad ``model`` is on at most ``limit`` validation samples: finer than a metric that counts.

    A task with an ``evaluate`` of its own has no loop that a loss could be taken in: its score, negated, stands in.
    ``forward`` runs the network on a batch, if not as it is.

    Raises:
        EvaluationError: the score is not finite.
    """
    if task.evaluate is not None:
        return -score(model, task, task.validation)
    model.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for inputs, wanted in batches(task.validation, name="validation", task=task).walk(_BATCH, limit=limit):
            batch = channels_last(as_network_input(inputs, task.example_input))
            outputs = call(model, batch) if forward is None else forward(batch)
            size = len(tensors_of(wanted)[0])
            total += float(task.loss(outputs, wanted)) * size
            count += size
    return total / max(1, count)


def _measure(model: nn.Module, task: Task, data: Any, limit: int | None) -> float:
    outputs, targets = [], []
    with torch.no_grad():
        for inputs, wanted in batches(data, name="scored", task=task).walk(_BATCH, limit=limit):
            outputs.append(call(model, channels_last(as_network_input(inputs, task.example_input))))
            targets.append(wanted)
    return float(metric_of(task.metric)(_joined(outputs), _joined(targets)))


def _joined(parts: list[Any]) -> Any:
    if not tensors_of(parts[0]):
        return [item for part in parts for item in part]
    return tree_map(lambda *leaves: torch.cat(leaves) if isinstance(leaves[0], torch.Tensor) else leaves[0], *parts)
