"""What runs inside a worker process: one evaluator, built on its first request and kept.

A module-level worker is the one place where a process pool lets a function find what its initializer prepared.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time

import torch

from ...evaluators.request import EvaluationRequest, Evaluator
from .base import Completion, carry_out, reason_of

_ORPHAN_POLL_SECONDS = 0.5


class Worker:
    """Builds its evaluator lazily, so that a factory that fails is a reason to read and not a dead process."""

    def __init__(self, factory: bytes) -> None:
        self._factory = factory
        self._evaluator: Evaluator | None = None

    def carry_out(self, request: EvaluationRequest) -> Completion:
        """Evaluate one request."""
        try:
            evaluator = self._built()
        except BaseException as error:  # noqa: BLE001 - whatever a task raises while it is built
            return Completion(request, None, f"the worker could not build its evaluator: {reason_of(error)}")
        try:
            return carry_out(evaluator, request)
        except KeyboardInterrupt as error:  # Ctrl-C does not reach a worker: the task's own code raised it
            return Completion(request, None, reason_of(error))

    def _built(self) -> Evaluator:
        if self._evaluator is None:
            evaluator: Evaluator = pickle.loads(self._factory)()  # noqa: S301 - the coordinator's own bytes
            self._evaluator = evaluator
        return self._evaluator


_worker: Worker | None = None


def start(factory: bytes, threads: int, coordinator: int) -> None:
    """Prepare this process: its threads, its evaluator, and its end with the coordinator's process."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the coordinator decides
    threading.Thread(target=_end_with, args=(coordinator,), daemon=True).start()
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    _worker = Worker(factory)


def run(request: EvaluationRequest) -> Completion:
    """Evaluate one request in this process."""
    if _worker is None:
        return Completion(request, None, "the worker process was never started")
    return _worker.carry_out(request)


def _end_with(coordinator: int) -> None:
    # A killed coordinator closes nothing: its workers would train on, beside those of the resumed search.
    while os.getppid() == coordinator:
        time.sleep(_ORPHAN_POLL_SECONDS)
    os._exit(1)
