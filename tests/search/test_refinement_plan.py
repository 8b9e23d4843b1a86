"""The end of a search with a budget: networks of the front are trained on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from espalier.errors import EvaluationError
from espalier.evaluators.evaluation import Evaluation
from espalier.evaluators.request import EvaluationRequest
from espalier.evaluators.task_evaluator import TaskEvaluator
from espalier.search.options import SearchOptions
from espalier.search.problem import prepare
from espalier.search.refinement_plan import RefinementPlan
from espalier.search.run_folder import Run
from espalier.search.run_folder.trial_record import TrialRecord
from espalier.search.run_search import run_search

pytestmark = pytest.mark.slow
"""Whole searches under a budget; what they show is told faster by tests/search/generation and by the golden lists."""


BY_SIZE = {"objectives": "accuracy,size", "threads": 1, "clock": time.process_time}
"""Every cut is smaller, where a network so tiny need not be faster."""


def continuing(run: Run) -> list[TrialRecord]:
    return [t for t in run.trials if str(t.origin).startswith("refinement, trial ") and t.configuration is not None]


@pytest.fixture(scope="module")
def run(tiny_task: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("last-step") / "run"
    return run_search(tiny_task, out=folder, budget=16.0, trials=500, **BY_SIZE)


def test_members_of_the_front_are_trained_on_from_their_own_weights(run: Run):
    known = {c.trial: c for c in run.configurations}
    trials = continuing(run)
    assert trials
    for trial in trials:
        found = known[trial.number]
        before = known[int(str(trial.origin).split()[-1])]
        assert found.policy == before.policy
        assert found.ancestor == before.trial
        assert found.inherited_samples == before.seen_samples
        assert found.samples > 0


def test_no_new_network_is_begun_once_members_are_trained_on(run: Run):
    first = min(t.number for t in continuing(run))
    assert all(str(t.origin).startswith("refinement") for t in run.trials if t.number > first)


def test_a_run_that_was_trained_on_can_be_resumed(run: Run, tiny_task: str):
    tried = len({c.policy for c in run.configurations})
    again = run_search(tiny_task, out=run.path, budget=900.0, trials=tried, resume=True, **BY_SIZE)
    assert len(continuing(again)) > len(continuing(run))
    assert {t.number: t.state for t in run.trials}.items() <= {t.number: t.state for t in again.trials}.items()


def test_what_fails_when_it_is_trained_on_is_tried_once_and_loses_nothing(
    tiny_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    evaluate = TaskEvaluator.evaluate

    def failing(self: TaskEvaluator, request: EvaluationRequest) -> Evaluation:
        if request.ancestor is not None and request.ancestor.policy == request.policy:
            raise EvaluationError("it diverged")
        return evaluate(self, request)

    monkeypatch.setattr(TaskEvaluator, "evaluate", failing)
    run = run_search(tiny_task, out=tmp_path / "run", budget=8.0, trials=500, **BY_SIZE)
    failed = [str(t.origin) for t in run.trials if t.state == "failed"]
    assert failed
    assert len(failed) == len(set(failed))
    assert all(origin.startswith(("refinement, trial ", "rung ")) for origin in failed)
    assert any(origin.startswith("refinement, trial ") for origin in failed)
    # A candidate of later may have taken a member's place on the front; its own trial stays what it was.
    states = {t.number: t.state for t in run.trials}
    assert {states[int(origin.split()[-1])] for origin in failed} == {"complete"}


def test_where_no_member_is_worth_more_training_other_candidates_are_tried(
    tiny_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(RefinementPlan, "_worth", lambda *_: 0.0)
    run = run_search(tiny_task, out=tmp_path / "run", budget=6.0, trials=500, **BY_SIZE)
    assert continuing(run) == []
    searched = next(e for e in run.events if e["event"] == "searched")
    policies = prepare(tiny_task, SearchOptions(task=tiny_task)).space.size
    assert searched["trials"] == policies or searched["seconds"] == pytest.approx(6.0, rel=0.25)


def test_without_a_budget_there_is_no_last_step(tiny_task: str, tmp_path: Path):
    assert continuing(run_search(tiny_task, out=tmp_path / "run", trials=6, samples=64, threads=1)) == []
