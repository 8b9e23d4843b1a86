"""Metrics by name, and how a task's own are taken in; one file each."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from ....errors import EvaluationError, TaskError, describe
from ....registry import Registry
from .accuracy import Accuracy, TopFive, TopK
from .auc import AUC
from .base import BuiltInMetric, Metric
from .macro_f1 import MacroF1
from .mean_absolute_error import MeanAbsoluteError
from .mean_iou import MeanIoU
from .perplexity import Perplexity
from .positions import Positions, main_output
from .r_squared import RSquared
from .regression import RegressionMetric
from .root_mean_squared_error import RootMeanSquaredError
from .whole import WholeMetric

__all__ = [
    "METRICS",
    "BuiltInMetric",
    "Metric",
    "Positions",
    "RegressionMetric",
    "built_in",
    "main_output",
    "make_metric",
    "number",
]

METRICS: Registry[type[BuiltInMetric]] = Registry("metric", group="espalier.metrics")
METRICS.add("accuracy", Accuracy)
METRICS.add("macro-f1", MacroF1)
METRICS.add("auc", AUC)
METRICS.add("rmse", RootMeanSquaredError)
METRICS.add("mae", MeanAbsoluteError)
METRICS.add("r2", RSquared)
METRICS.add("miou", MeanIoU)
METRICS.add("perplexity", Perplexity)
METRICS.add("top5", TopFive)

_TOP = re.compile(r"top-?([1-9]\d*)(-accuracy)?")


def built_in(name: str) -> tuple[Callable[[Positions], BuiltInMetric], type[BuiltInMetric], str]:
    """Return what makes the built-in metric called ``name``, its class, and what people call it.

    ``top3`` and the like are top-k accuracies; case, spaces and underscores do not count.

    Raises:
        UnknownNameError: no metric has that name; near names are suggested.
    """
    plain = name.strip().lower().replace("_", "-").replace(" ", "-").replace("\u00b2", "2")
    if (top := _TOP.fullmatch(plain)) is not None:
        k = int(top[1])
        return partial(TopK, k=k), TopK, f"top-{k} accuracy"
    found = METRICS.get(plain)
    return found, found, found.title


def make_metric(metric: Any, positions: Positions) -> Metric:
    """Return a fresh object that accumulates what a task gave as its metric.

    Args:
        metric: a name; a class or an object with ``reset``, ``update`` and ``compute``, such as of torchmetrics, which
            is copied; or a function ``(outputs, targets)`` to a number, which is given all outputs at once.
        positions: of the task, for the built-in ones.

    Raises:
        UnknownNameError: no metric has that name.
        TaskError: it is none of these.
    """
    if isinstance(metric, str):
        return built_in(metric)[0](positions)
    if isinstance(metric, type) and issubclass(metric, BuiltInMetric):
        return metric(positions)
    if _accumulates(metric):
        fresh: Any = metric() if isinstance(metric, type) else copy.deepcopy(metric)
        fresh.reset()
        return fresh
    if callable(metric):
        return WholeMetric(metric)
    raise TaskError(
        describe(
            f"metric of type {type(metric).__name__}",
            expected="a name, a function (outputs, targets) -> float, or an object with reset, update and compute",
            remedy=f"Name one of {', '.join(METRICS)}, or give your own.",
        )
    )


def number(value: Any, metric: Any) -> float:
    """Return what a metric computed as a number.

    Raises:
        EvaluationError: it is no single number.
    """
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        kind = type(value).__name__
        raise EvaluationError(
            describe(f"metric {metric!r} gave {kind}", expected="one number", remedy="Average over its entries.")
        ) from error


def _accumulates(metric: Any) -> bool:
    return all(callable(getattr(metric, name, None)) for name in ("reset", "update", "compute"))
