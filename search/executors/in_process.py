"""Evaluates in the coordinator's own process, one request after the other."""

from __future__ import annotations

from collections import deque

from ...evaluators.request import EvaluationRequest, Evaluator
from ...evaluators.training.threads import torch_threads
from .base import EXECUTORS, Completion, ExecutorSettings, carry_out


class InProcessExecutor:
    """One worker that is the coordinator itself: nothing to start, nothing to copy."""

    def __init__(self, settings: ExecutorSettings) -> None:
        self._factory = settings.factory
        self._threads = settings.threads
        self._evaluator: Evaluator | None = settings.evaluator
        self._waiting: deque[EvaluationRequest] = deque()

    def submit(self, request: EvaluationRequest) -> None:
        """Queue one request."""
        self._waiting.append(request)

    def next_completed(self, timeout: float | None = None) -> Completion | None:
        """Evaluate the request that was queued first; ``timeout`` cannot shorten that."""
        if not self._waiting:
            return None
        if self._evaluator is None:
            self._evaluator = self._factory()
        with torch_threads(self._threads):
            return carry_out(self._evaluator, self._waiting.popleft())

    def close(self, *, abandon: bool = False) -> None:
        """Forget what is queued."""
        self._waiting.clear()


EXECUTORS.add("in-process", InProcessExecutor)
