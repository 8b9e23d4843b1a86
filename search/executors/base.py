"""What carries out evaluations: here, in other processes or on other machines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ...errors import EspalierError, text_of
from ...evaluators.evaluation import Evaluation
from ...evaluators.request import EvaluationRequest, Evaluator
from ...registry import Registry

EvaluatorFactory = Callable[[], Evaluator]
"""Builds an evaluator where it will work; picklable by cloudpickle, closures included."""


@dataclass(frozen=True)
class Completion:
    """A request that was carried out: either its evaluation or why there is none."""

    request: EvaluationRequest
    evaluation: Evaluation | None
    error: str | None


class Executor(Protocol):
    """Carries out requests, any number at a time, and hands back each exactly once, in any order."""

    def submit(self, request: EvaluationRequest) -> None:
        """Take on one request; returns at once."""
        ...

    def next_completed(self, timeout: float | None = None) -> Completion | None:
        """Wait for any request to be carried out; ``None`` after ``timeout`` seconds, or if none is taken on.

        A candidate that fails, or kills its worker, comes back with an error; nothing is raised.
        """
        ...

    def close(self, *, abandon: bool = False) -> None:
        """Stop all workers; with ``abandon`` without waiting for what they are at. Closing twice is allowed."""
        ...


@dataclass(frozen=True)
class ExecutorSettings:
    """What every kind of executor is made from."""

    factory: EvaluatorFactory
    workers: int
    threads: int
    """Per worker."""
    evaluator: Evaluator | None = None
    """One that this process has made already, for an executor that evaluates here."""


EXECUTORS: Registry[Callable[[ExecutorSettings], Executor]] = Registry("executor", group="espalier.executors")


def carry_out(evaluator: Evaluator, request: EvaluationRequest) -> Completion:
    """Evaluate one request; whatever goes wrong with this candidate becomes the completion's error.

    That a task's own code ends the process (``sys.exit``), or closes a generator, is no more than that. Only Ctrl-C is
    the user's word to the search.
    """
    try:
        return Completion(request, evaluator.evaluate(request), None)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a candidate may fail in any way; the search goes on
        return Completion(request, None, reason_of(error))


def reason_of(error: BaseException) -> str:
    """Return why a candidate failed, in one line."""
    lines = [line.strip() for line in text_of(error).splitlines() if line.strip()]
    message = lines[0] if lines else "no message"
    return message if isinstance(error, EspalierError) else f"{type(error).__name__}: {message}"
