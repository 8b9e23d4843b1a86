"""The contract of an executor, as a test class: subclass it and say how the executor is made."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from ..errors import EvaluationError
from ..evaluators.evaluation import Evaluation
from ..evaluators.request import EvaluationRequest, Evaluator
from ..search.executors import Executor, ExecutorSettings
from ..spaces.policy import Policy
from .analytic import AnalyticEvaluator, analytic_graph

_GRAPH = analytic_graph(8, 16)
FAILING, ODD, DEADLY, LEAVING, MUTE = 101, 102, 103, 104, 105
"""Trials that fail as a candidate may, fail in an unforeseen way, kill their worker, call ``sys.exit``, and raise what
has no text."""


class TroubledEvaluator(AnalyticEvaluator):
    """Does what is asked, except for the troublesome trials."""

    def evaluate(self, request: EvaluationRequest) -> Evaluation:
        """Evaluate, fail or die."""
        if request.trial == FAILING:
            raise EvaluationError("this candidate diverged")
        if request.trial == ODD:
            raise ZeroDivisionError("nobody foresaw\nthis")
        if request.trial == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        if request.trial == LEAVING:
            sys.exit(0)
        if request.trial == MUTE:
            raise _MuteError
        return super().evaluate(request)


class _MuteError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class ExecutorContract:
    """What every executor does. A subclass makes one."""

    workers = 2

    @classmethod
    def make(cls, settings: ExecutorSettings) -> Executor:
        """Return the executor under test."""
        raise NotImplementedError("a subclass makes its executor here")

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Executor]:
        """One executor for all tests, each of which takes back what it submits: starting workers takes seconds."""
        executor = cls.make(ExecutorSettings(_evaluator, cls.workers, 1))
        yield executor
        executor.close(abandon=True)

    def test_every_request_comes_back_once(self, executor: Executor) -> None:
        for trial in range(5):
            executor.submit(_request(trial))
        completions = [executor.next_completed() for _ in range(5)]
        assert sorted(c.request.trial for c in completions if c) == [0, 1, 2, 3, 4]
        assert all(c is not None and c.error is None and c.evaluation is not None for c in completions)

    def test_nothing_taken_on_gives_nothing(self, executor: Executor) -> None:
        assert executor.next_completed(timeout=0.1) is None

    def test_answers_are_those_of_the_evaluator(self, executor: Executor) -> None:
        executor.submit(_request(7))
        completion = executor.next_completed()
        assert completion is not None
        assert completion.evaluation is not None
        assert completion.evaluation.metrics == _evaluator().evaluate(_request(7)).metrics

    def test_a_failing_candidate_comes_back_with_its_reason(self, executor: Executor) -> None:
        executor.submit(_request(FAILING))
        completion = executor.next_completed()
        assert completion is not None
        assert completion.evaluation is None
        assert completion.error == "this candidate diverged"

    def test_an_unforeseen_failure_names_its_type_in_one_line(self, executor: Executor) -> None:
        executor.submit(_request(ODD))
        completion = executor.next_completed()
        assert completion is not None
        assert completion.error == "ZeroDivisionError: nobody foresaw"

    @pytest.mark.parametrize(("trial", "name"), [(LEAVING, "SystemExit"), (MUTE, "_MuteError")])
    def test_what_ends_a_process_or_has_no_text_is_a_failure_too(
        self, executor: Executor, trial: int, name: str
    ) -> None:
        executor.submit(_request(trial))
        completion = executor.next_completed()
        assert completion is not None
        assert completion.evaluation is None
        assert str(completion.error).startswith(name)

    def test_works_on_after_a_failure(self, executor: Executor) -> None:
        executor.submit(_request(FAILING))
        executor.submit(_request(3))
        completions = [executor.next_completed() for _ in range(2)]
        assert {c.request.trial: c.error is None for c in completions if c} == {FAILING: False, 3: True}

    def test_closing_twice_is_allowed(self) -> None:
        executor = self.make(ExecutorSettings(_evaluator, self.workers, 1))
        executor.close()
        executor.close(abandon=True)


class ProcessExecutorContract(ExecutorContract):
    """What an executor does besides, whose workers are processes of their own."""

    def test_a_killed_worker_costs_only_the_request_that_killed_it(self, executor: Executor) -> None:
        for trial in (DEADLY, 1, 2, 3):
            executor.submit(_request(trial))
        completions = {c.request.trial: c for c in (executor.next_completed() for _ in range(4)) if c is not None}
        assert "killed 3 times" in str(completions[DEADLY].error)
        assert all(completions[trial].error is None for trial in (1, 2, 3))


def _evaluator() -> Evaluator:
    return TroubledEvaluator(_GRAPH)


def _request(trial: int) -> EvaluationRequest:
    sparsity = (trial % 8) / 8
    return EvaluationRequest(trial, Policy.uniform(_GRAPH, sparsity), samples=10, seed=0)
