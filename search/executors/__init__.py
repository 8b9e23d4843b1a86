"""Executors by name; importing one registers it."""

from __future__ import annotations

from .base import EXECUTORS, Completion, EvaluatorFactory, Executor, ExecutorSettings
from .in_process import InProcessExecutor
from .local import local_executor
from .processes import ProcessExecutor

__all__ = [
    "EXECUTORS",
    "Completion",
    "EvaluatorFactory",
    "Executor",
    "ExecutorSettings",
    "InProcessExecutor",
    "ProcessExecutor",
    "local_executor",
]
