"""Metrics of a task, by name; higher is better."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..registry import Registry

Metric = Callable[[Any, Any], float]


def accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the share of samples whose largest output is the target.

    Args:
        outputs: shape ``(samples, classes, ...)``.
        targets: class indices, shape ``(samples, ...)``.
    """
    return float((outputs.argmax(1) == targets).double().mean())


METRICS: Registry[Metric] = Registry("metric")
METRICS.add("accuracy", accuracy)


def metric_of(metric: str | Metric) -> Metric:
    """Return the metric function that a task names or gives.

    Raises:
        UnknownNameError: no metric has that name; near names are suggested.
    """
    return METRICS.get(metric) if isinstance(metric, str) else metric
