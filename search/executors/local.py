"""Evaluates on this machine: in the search's own process where one worker is enough, else in several."""

from __future__ import annotations

from .base import EXECUTORS, Executor, ExecutorSettings


def local_executor(settings: ExecutorSettings) -> Executor:
    """Return the executor of this machine for so many workers."""
    return EXECUTORS.get("in-process" if settings.workers == 1 else "processes")(settings)


EXECUTORS.add("local", local_executor)
