from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from espalier.evaluators.cost_prediction import CostPredictor
from espalier.evaluators.hardware.calibrate import calibrate
from espalier.evaluators.hardware.device import load_device
from espalier.evaluators.hardware.learned import LearnedModel
from espalier.evaluators.objectives import Constraint
from espalier.search import cost_filter
from espalier.search.cost_filter import CALIBRATION, CostFilter, seconds_for
from espalier.search.cost_filter_audit import MOST, SHARE
from espalier.search.options import SearchOptions
from espalier.search.run_folder import Run
from espalier.search.run_search import run_search
from espalier.spaces.graph.trace import trace
from espalier.spaces.policy import Policy
from espalier.testing.cost_models import chain

IMAGE = torch.zeros(1, 3, 32, 32)


@pytest.fixture(scope="module")
def predictor() -> CostPredictor:
    network = chain(64)
    device = calibrate(network, IMAGE, seconds=2.0)
    return CostPredictor(network, IMAGE, trace(network, IMAGE), LearnedModel(device))


def test_what_breaks_a_constraint_beyond_the_error_is_turned_down(predictor: CostPredictor) -> None:
    graph = predictor.graph
    dense, half = Policy.dense(graph), Policy.uniform(graph, 0.75, channel_multiple=16)
    told_dense, told_half = predictor.predict([dense, half])
    assert told_half.latency_ms < told_dense.latency_ms
    found = CostFilter(predictor, (Constraint.parse(f"latency_ms<={0.99 * told_dense.latency_low}"),), "")
    assert "breaks latency_ms" in str(found.objection(dense))
    assert found.objection(half) is None
    within = CostFilter(predictor, (Constraint.parse(f"latency_ms<={1.01 * told_dense.latency_low}"),), "")
    assert within.objection(dense) is None
    macs = CostFilter(predictor, (Constraint.parse(f"macs<={told_dense.macs - 1}"),), "")
    assert "macs" in str(macs.objection(dense))


def test_what_is_slower_than_a_network_that_keeps_more_is_turned_down(predictor: CostPredictor) -> None:
    found = CostFilter(predictor, (), "")
    graph = predictor.graph
    step = Policy.from_kept(graph, {g.name: 48 for g in graph.groups})
    odd = Policy.from_kept(graph, {g.name: 47 for g in graph.groups})
    told_step, told_odd = predictor.predict([step, odd])
    objection = found.objection(odd)
    assert (objection is not None) == (told_step.latency_high < told_odd.latency_low)
    assert found.objection(Policy.dense(graph)) is None


def test_an_objection_stands_where_measuring_finds_a_reason_for_it(predictor: CostPredictor) -> None:
    graph = predictor.graph
    odd = Policy.from_kept(graph, {g.name: 47 for g in graph.groups})
    bound = CostFilter(predictor, (Constraint.parse("latency_ms<=2"), Constraint.parse("accuracy>=0.9")), "")
    costs = {"latency_ms": 1.5, "macs": 100.0, "params": 10.0}
    slower, faster = (lambda _: {"latency_ms": 1.6}), (lambda _: {"latency_ms": 1.4})
    assert bound.was_right(odd, slower, {**costs, "latency_ms": 2.1})
    assert not bound.was_right(odd, slower, costs)
    assert bound.was_right(odd, faster, costs)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({"trials": 50}, 45),
        ({"trials": 39}, 0),
        ({"trials": 39, "calibrate": True}, 45),
        ({"trials": 50, "calibrate": False}, 0),
        ({"trials": 50, "budget": 600, "inherit": False}, 30),
        ({"trials": 50, "budget": 600, "samples": 100}, 30),
        ({"trials": 50, "budget": 600}, 0),
        ({"trials": 50, "budget": 7200}, 45),
        ({"trials": 50, "budget": 100}, 0),
        ({"trials": 50, "budget": 100, "calibrate": True}, 15),
    ],
)
def test_when_a_search_calibrates(given: dict[str, object], seconds: float) -> None:
    options = SearchOptions(task="digits", **given)
    assert seconds_for(options, load_device("host")) == seconds
    assert seconds_for(options, load_device("cortex-m4")) == 0


def test_a_search_calibrates_once_and_turns_down_what_cannot_meet_its_constraint(
    tiny_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost_filter, "CALIBRATION_SECONDS", 1.0)
    monkeypatch.setattr(cost_filter, "LEAST_SECONDS", 1.0)
    bound = 700  # about half of the dense network's MACs: a quarter off every group breaks it
    folder = tmp_path / "run"
    said = {"calibrate": True, "constraints": f"macs<={bound}", "samples": 0, "inherit": False}
    first = run_search(tiny_task, out=folder, trials=2, **said)
    stored = folder / CALIBRATION
    before = stored.stat().st_mtime
    run = run_search(tiny_task, out=folder, trials=3, resume=True, **said)
    assert stored.stat().st_mtime == before
    assert len(first.trials) < len(run.trials)
    predicted = [t.predicted for t in run.trials if t.state == "complete"]
    assert all(p is not None and p[1] < p[0] < p[2] for p in predicted)
    rejected = [t for t in run.trials if t.state == "rejected"]
    assert rejected
    assert all("breaks macs" in str(t.reason) and t.configuration is None for t in rejected)
    _check_audit(run, first)
    complete = [t.configuration for t in run.trials if t.configuration is not None]
    assert sum((c.metrics["macs"] or 0.0) <= bound for c in complete) >= 2


def _check_audit(run: Run, earlier: Run) -> None:
    """A tenth of the networks turned down was measured. MACs are known exactly: none was turned down wrongly."""
    rejected = {t.number: t.reason for t in run.trials if t.state == "rejected"}
    assert run.audit is not None
    assert earlier.audit is not None
    assert 0 < run.audit.turned_down <= len(rejected)
    assert len(run.audit.audited) == min(MOST, math.ceil(SHARE * run.audit.turned_down))
    assert run.audit.audited[: len(earlier.audit.audited)] == earlier.audit.audited
    assert all(rejected[a.trial] == a.objection and (a.metrics["macs"] or 0.0) > 700 for a in run.audit.audited)
    assert run.audit.wrongly == 0
