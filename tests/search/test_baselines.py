"""Uniform pruning beside a search, at equal budget."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from espalier.errors import Interrupted
from espalier.search.baselines import levels
from espalier.search.run_folder import open_run
from espalier.search.run_folder.event_log import searched_seconds
from espalier.search.run_search import run_search
from espalier.spaces.search_space import SearchSpace
from espalier.testing.analytic import AnalyticEvaluator, analytic_graph


def kept(space):
    return [tuple(choice.kept for choice in policy.choices.values()) for _, policy in levels(space)]


@pytest.fixture
def evaluated(monkeypatch):
    """The requests of baselines, in order; ``evaluated.stop_at = 3`` ends the process's work at the third, abruptly."""

    class Requests(list):
        stop_at = None

    seen, evaluate = Requests(), AnalyticEvaluator.evaluate

    def watched(self, request):
        if "baselines" in str(request.weights_path):
            if seen.stop_at is not None and len(seen) + 1 == seen.stop_at:
                raise KeyboardInterrupt
            seen.append(request)
        return evaluate(self, request)

    monkeypatch.setattr(AnalyticEvaluator, "evaluate", watched)
    return seen


def test_levels_are_eighths_on_the_devices_multiple_each_network_once():
    assert kept(SearchSpace(analytic_graph(8, 16))) == [(7, 14), (6, 12), (5, 10), (4, 8), (3, 6), (2, 4)]
    # With multiples of eight, 16 channels are 16 or 8: the first is the dense network, the second comes once.
    assert kept(SearchSpace(analytic_graph(16, 16), channel_multiple=8)) == [(8, 8)]


def test_each_level_gets_an_equal_share_of_the_searchs_samples_and_one_of_both_compounds(search, evaluated):
    run = search(trials=13, samples=100, baselines=True)
    assert [b.name for b in run.baselines] == ["uniform", "iterative uniform"]
    assert [b.budget.samples for b in run.baselines] == [1300, 1300]
    assert [request.samples for request in evaluated] == [1300 // 6] * 12
    assert [request.ancestor for request in evaluated[:6]] == [None] * 6
    chain = [request.ancestor and (request.ancestor.trial, request.ancestor.samples) for request in evaluated[6:]]
    # The evaluator of formulas reports no inherited samples, so that each has seen its own alone.
    assert chain == [None, *((number, 216) for number in range(1, 6))]
    assert [b.samples for b in run.baselines] == [1296, 1296]


def test_baselines_stay_beside_the_run(search):
    run, plain = search(trials=8, baselines=True), search(trials=8, folder="plain")
    assert run.front_document()["configurations"] == plain.front_document()["configurations"]
    assert len(run.trials) == len(plain.trials) == 8
    assert plain.baselines == ()
    for baseline in run.baselines:
        assert all(c.metrics["test_accuracy"] is not None for c in baseline.configurations)
        assert [level.number for level in baseline.levels] == [1, 2, 3, 4, 5, 6]
    assert sorted(p.name for p in (run.path / "baselines" / "uniform").iterdir()) == ["baseline.json", "finished.json"]


@pytest.mark.parametrize("stop_at", [3, 8])
def test_an_end_in_the_midst_loses_no_trained_level(search, evaluated, tmp_path, stop_at):
    evaluated.stop_at = stop_at
    with pytest.raises(Interrupted, match="is kept"):
        search(trials=6, samples=100, baselines=True)
    assert len(open_run(tmp_path / "run").front.configurations) > 0
    before = evaluated.copy()
    assert len(before) == stop_at - 1
    evaluated.stop_at = None
    run = search(trials=6, samples=100, baselines=True, resume=True)
    assert len(evaluated) == 12
    assert [len(b.levels) for b in run.baselines] == [6, 6]
    assert {b.budget.trials for b in run.baselines} == {6}


def test_a_run_that_goes_on_gets_baselines_of_its_new_budget_and_else_keeps_them(search, evaluated):
    search(trials=6, samples=100)
    assert evaluated == []
    search(trials=6, samples=100, baselines=True, resume=True)
    first = search(trials=6, samples=100, baselines=True, resume=True)
    assert len(evaluated) == 12
    assert {b.budget.samples for b in first.baselines} == {600}
    run = search(trials=9, samples=100, baselines=True, resume=True)
    assert len(evaluated) == 24
    assert {b.budget.samples for b in run.baselines} == {900}


def test_levels_that_fail_are_passed_over(search, evaluated):
    run = search(trials=6, baselines=True, problem={"failing": 0.4})
    for baseline in run.baselines:
        assert [level.evaluation is None for level in baseline.levels] == [False] * 3 + [True] * 3
        assert "too sparse" in str(baseline.levels[-1].reason)
        assert all(c.trial <= 3 for c in baseline.configurations)
    assert [r.ancestor.trial for r in evaluated[-3:]] == [3, 3, 3]


def test_the_clock_of_a_search_leaves_its_baselines_out():
    events = [
        {"event": "started", "time": 100.0}, {"event": "finished", "time": 110.0},
        {"event": "baseline trial", "time": 150.0}, {"event": "resumed", "time": 200.0},
        {"event": "trial finished", "time": 203.0}, {"event": "baseline finished", "time": 300.0},
    ]  # fmt: skip
    assert searched_seconds(events) == 13.0


@pytest.mark.slow
def test_under_a_time_budget_each_baseline_trains_for_the_searchs_seconds(tiny_task: str, tmp_path: Path):
    clock = time.process_time  # other processes' time is not the search's
    run = run_search(tiny_task, out=tmp_path / "run", budget=4.0, trials=200, threads=1, baselines=True, clock=clock)
    searched = next(e for e in run.events if e["event"] == "searched")
    for baseline in run.baselines:
        assert baseline.budget.seconds == searched["seconds"] == pytest.approx(4.0, rel=0.25)
        # Its last network trains faster than the one before it told, and so may leave some.
        assert 0.5 * searched["seconds"] < baseline.seconds < 1.5 * searched["seconds"]
        assert baseline.samples > 3 * 512
    last = run.baselines[-1].levels[-1].evaluation
    assert last is not None
    assert last.inherited_samples > 0
    stored = json.loads((run.path / "run.json").read_text())
    assert stored["options"]["baselines"] is True
