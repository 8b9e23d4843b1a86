"""Evaluates in processes of this machine, through joblib's loky.

Each worker is a pool of its own: when a process is killed (out of memory, most often), loky breaks the whole pool, and
so only the request that the process was at is lost and to blame.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from joblib.externals.loky import ProcessPoolExecutor

from ...evaluators.request import EvaluationRequest
from ...evaluators.task.own_elements import dumps
from . import worker
from .base import EXECUTORS, Completion, ExecutorSettings, reason_of

MAX_RETRIES = 2
"""How often a request is tried again after its worker was killed."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class ProcessExecutor:
    """``workers`` processes, each with one evaluator and ``threads`` threads."""

    def __init__(self, settings: ExecutorSettings) -> None:
        self._factory: bytes = dumps(settings.factory)
        self._threads = settings.threads
        self._idle: list[ProcessPoolExecutor] = [self._pool() for _ in range(settings.workers)]
        self._busy: dict[Future[Completion], tuple[ProcessPoolExecutor, EvaluationRequest]] = {}
        self._waiting: deque[EvaluationRequest] = deque()
        self._kills: dict[int, int] = {}

    def submit(self, request: EvaluationRequest) -> None:
        """Hand the request to an idle worker, or queue it."""
        self._waiting.append(request)
        self._dispatch()

    def next_completed(self, timeout: float | None = None) -> Completion | None:
        """Wait for any worker; one whose process was killed is replaced and its request tried again."""
        while self._busy:
            done, _ = wait(self._busy, timeout=timeout, return_when=FIRST_COMPLETED)
            if not done:
                return None
            completion = self._collect(min(done, key=lambda future: self._busy[future][1].trial))
            self._dispatch()
            if completion is not None:
                return completion
        return None

    def close(self, *, abandon: bool = False) -> None:
        """Stop all processes."""
        pools = [*self._idle, *(pool for pool, _ in self._busy.values())]
        self._idle, self._busy = [], {}
        self._waiting.clear()
        for pool in pools:
            pool.shutdown(wait=True, kill_workers=abandon)

    def _collect(self, future: Future[Completion]) -> Completion | None:
        pool, request = self._busy.pop(future)
        try:
            completion = future.result()
        except BrokenProcessPool:
            return self._after_kill(pool, request)
        except Exception as error:  # noqa: BLE001 - an answer that cannot be pickled, for one
            completion = Completion(request, None, reason_of(error))
        self._idle.append(pool)
        self._kills.pop(request.trial, None)
        return completion

    def _after_kill(self, pool: ProcessPoolExecutor, request: EvaluationRequest) -> Completion | None:
        pool.shutdown(wait=True, kill_workers=True)
        self._idle.append(self._pool())
        kills = self._kills.pop(request.trial, 0) + 1
        if kills > MAX_RETRIES:
            return Completion(request, None, f"its worker process was killed {kills} times, perhaps out of memory")
        self._kills[request.trial] = kills
        self._waiting.appendleft(request)
        return None

    def _dispatch(self) -> None:
        while self._idle and self._waiting:
            pool, request = self._idle.pop(), self._waiting.popleft()
            with _interrupts_blocked():
                self._busy[pool.submit(worker.run, request)] = (pool, request)

    def _pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            max_workers=1,
            initializer=worker.start,
            initargs=(self._factory, self._threads, os.getpid()),
            # Set before the worker imports anything, as thread pools read these once.
            env=dict.fromkeys(_THREAD_VARIABLES, str(self._threads)),
        )


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    # A process inherits what is blocked: Ctrl-C at the terminal cannot hit a worker before it has begun to ignore it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


EXECUTORS.add("processes", ProcessExecutor)
