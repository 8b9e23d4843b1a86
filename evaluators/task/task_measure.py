"""What a task's score is: its name, unit and direction, as the task says or as its metric knows."""

from __future__ import annotations

from typing import Any

from ...errors import TaskError, describe
from .measure import Measure
from .metrics import BuiltInMetric, Positions, RegressionMetric, built_in
from .task import Task


def positions_of(task: Task) -> Positions:
    """Return which outputs and positions of them count."""
    return Positions(task.ignore_index, task.mask, task.class_dim)


def measure_of(task: Task) -> Measure:
    """Return what the task's score is.

    A task with an ``evaluate`` of its own measures what it likes: its score is called ``score`` unless the task names
    it, and higher is better unless the task says otherwise.

    Raises:
        UnknownNameError: no metric has that name.
        TaskError: the direction is not that of the built-in metric.
    """
    kind, title = (None, "score") if task.evaluate is not None else _known(task.metric)
    own = getattr(kind, "direction", None) or _own_direction(None if task.evaluate is not None else task.metric)
    if kind is not None and task.direction not in (None, own):
        raise TaskError(
            describe(
                f"direction {task.direction!r} for {title}",
                expected=f"{own}, as {title} is better {'higher' if own == 'maximize' else 'lower'}",
                remedy="Leave the direction out.",
            )
        )
    share = kind is not None and kind.share and not task.unit
    return Measure(
        name=task.metric_name or title,
        direction=task.direction or own or "maximize",
        unit=task.unit,
        share=share,
        usable_from=task.usable_from,
    )


def is_regression(task: Task) -> bool:
    """Return whether the task's metric is a built-in one of regression."""
    kind = _known(task.metric)[0]
    return kind is not None and issubclass(kind, RegressionMetric)


def _known(metric: Any) -> tuple[type[BuiltInMetric] | None, str]:
    if isinstance(metric, str):
        _, kind, title = built_in(metric)
        return kind, title
    if isinstance(metric, type) and issubclass(metric, BuiltInMetric):
        return metric, metric.title
    if isinstance(metric, BuiltInMetric):
        return type(metric), metric.title
    name = getattr(metric, "title", None) or getattr(metric, "__name__", None) or type(metric).__name__
    return None, "score" if name in ("<lambda>", "partial", "function") else str(name)


def _own_direction(metric: Any) -> Any:
    """Return the direction that a metric of torchmetrics, or of its like, knows of itself."""
    if (direction := getattr(metric, "direction", None)) in ("maximize", "minimize"):
        return direction
    higher = getattr(metric, "higher_is_better", None)
    return None if not isinstance(higher, bool) else "maximize" if higher else "minimize"
