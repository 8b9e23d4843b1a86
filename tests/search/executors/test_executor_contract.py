from __future__ import annotations

import os
import time

import pytest
import torch

from espalier.errors import UnknownNameError
from espalier.evaluators.request import EvaluationRequest
from espalier.search.executors import EXECUTORS, ExecutorSettings, InProcessExecutor, ProcessExecutor
from espalier.spaces.policy import Policy
from espalier.testing.analytic import AnalyticEvaluator, analytic_graph
from espalier.testing.executors import ExecutorContract, ProcessExecutorContract


class TestInProcessExecutor(ExecutorContract):
    workers = 1

    @classmethod
    def make(cls, settings):
        return InProcessExecutor(settings)


class TestProcessExecutor(ProcessExecutorContract):
    @classmethod
    def make(cls, settings):
        return ProcessExecutor(settings)


def test_registered_names():
    assert EXECUTORS.names() == ("in-process", "local", "processes")
    with pytest.raises(UnknownNameError, match="processes"):
        EXECUTORS.get("process")


def only_completion(factory):
    executor = ProcessExecutor(ExecutorSettings(factory, workers=1, threads=1))
    try:
        executor.submit(EvaluationRequest(0, Policy.dense(analytic_graph(8)), 0, 0))
        completion = executor.next_completed()
        assert completion is not None
        return completion
    finally:
        executor.close()


def test_a_worker_sets_its_threads_and_a_closure_can_be_its_factory():
    expected = (1, 1, "1", "1")

    class Probe(AnalyticEvaluator):
        def evaluate(self, request):
            import torch

            variables = os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]
            seen = (torch.get_num_threads(), torch.get_num_interop_threads(), *variables)
            assert seen == expected, seen
            return super().evaluate(request)

    assert only_completion(lambda: Probe(analytic_graph(8))).error is None


def test_evaluating_in_process_uses_the_threads_asked_for_and_gives_the_others_back():
    seen = []

    class Probe(AnalyticEvaluator):
        def evaluate(self, request):
            seen.append(torch.get_num_threads())
            return super().evaluate(request)

    before = torch.get_num_threads()
    executor = InProcessExecutor(ExecutorSettings(lambda: Probe(analytic_graph(8)), workers=1, threads=before + 1))
    executor.submit(EvaluationRequest(0, Policy.dense(analytic_graph(8)), 0, 0))
    executor.next_completed()
    assert seen == [before + 1]
    assert torch.get_num_threads() == before


def test_a_factory_that_fails_is_a_reason_not_a_dead_worker():
    def broken():
        raise FileNotFoundError("no data here")

    error = only_completion(broken).error
    assert error == "the worker could not build its evaluator: FileNotFoundError: no data here"


def test_abandoning_does_not_wait_for_a_long_evaluation():
    graph = analytic_graph(8)
    executor = ProcessExecutor(ExecutorSettings(lambda: AnalyticEvaluator(graph, 300.0), workers=1, threads=1))
    executor.submit(EvaluationRequest(0, Policy.dense(graph), 0, 0))
    assert executor.next_completed(timeout=0.5) is None
    begin = time.monotonic()
    executor.close(abandon=True)
    assert time.monotonic() - begin < 60
