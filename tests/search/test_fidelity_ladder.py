"""Who climbs the ladder of fidelities, and what a search makes of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from espalier.errors import Interrupted
from espalier.evaluators.configuration import Configuration
from espalier.evaluators.evaluation import Evaluation
from espalier.evaluators.objectives import Constraint, objectives
from espalier.evaluators.pareto import crowding, ranks
from espalier.evaluators.request import EvaluationRequest
from espalier.evaluators.task_evaluator import TaskEvaluator
from espalier.search import fidelity_ladder
from espalier.search.fidelity_ladder import FidelityLadder, Promotion, rungs
from espalier.search.run_folder import Run
from espalier.search.run_search import run_search
from espalier.search.sensitivity import nested_path
from espalier.spaces.policy import Policy
from espalier.testing.analytic import analytic_graph

GRAPH = analytic_graph(64, 64)
BOTH = objectives("accuracy,latency")


def candidate(trial: int, accuracy: float, latency_ms: float) -> Configuration:
    policy = Policy.from_kept(GRAPH, {"layer0": 1 + trial})
    evaluation = Evaluation({"accuracy": accuracy, "latency_ms": latency_ms}, "measured", 0.1, 0)
    return Configuration(trial, policy, evaluation)


def ladder(*candidates: Configuration, rung: int = 0, **options) -> FidelityLadder:
    made = FidelityLadder((0, 250, 1000), BOTH, **options)
    for each in candidates:
        made.add(rung, each)
    return made


def test_rungs_grow_by_a_factor_of_four_from_none():
    assert rungs(12_800) == (0, 3_200, 12_800)
    assert rungs(256) == (0, 64, 256)
    assert rungs(255) == (0, 255)


def test_ranks_and_crowding_as_computed_by_hand():
    points = [(0.0, 3.0), (1.0, 1.0), (3.0, 0.0), (2.0, 2.0), (3.0, 3.0)]
    assert ranks(points) == [0, 0, 0, 1, 2]
    inf = float("inf")
    assert crowding([(0.0, 4.0), (1.0, 3.0), (4.0, 0.0)]) == [inf, 2.0, inf]
    assert crowding([(1.0, 1.0), (1.0, 1.0), (1.0, 1.0)])[1] == 0.0


def test_the_best_of_three_climbs_and_no_other():
    one, two, three = candidate(0, 0.5, 1.0), candidate(1, 0.7, 1.0), candidate(2, 0.6, 1.0)
    assert ladder(one, two).next(()) is None
    full = ladder(one, two, three)
    assert full.next(()) == Promotion(two, 1)
    full.climb(Promotion(two, 1))
    assert full.next(()) is None


def test_small_networks_do_not_climb_for_being_small():
    # Nobody dominates the small ones; of each size the more accurate climbs.
    small = [candidate(i, 0.1 + 0.01 * i, 0.10) for i in range(3)]
    large = [candidate(3 + i, 0.8 + 0.01 * i, 1.00) for i in range(3)]
    made = ladder(*small, *large)
    climbing = []
    while (found := made.next(())) is not None:
        climbing.append(found.member.trial)
        made.climb(found)
    assert climbing == [2, 5]


def test_of_equally_good_ones_the_oldest_climbs_and_no_more_than_a_third():
    # Nobody dominates anybody, and both ends of a front are as far from others as can be.
    made = ladder(candidate(0, 0.5, 1.0), candidate(1, 0.6, 1.1), candidate(2, 0.55, 1.05))
    climbing = []
    while (found := made.next(())) is not None:
        climbing.append(found.member.trial)
        made.climb(found)
    assert climbing == [0]


def test_a_candidate_is_judged_anew_when_another_of_its_cost_comes():
    made = ladder(candidate(0, 0.7, 1.0), candidate(1, 0.6, 1.1))
    assert made.next(()) is None
    made.add(0, candidate(2, 0.9, 5.0))
    assert made.next(()) is None
    made.add(0, candidate(3, 0.5, 1.05))
    assert made.next(()) == made.next(()) == Promotion(candidate(0, 0.7, 1.0), 1)


def test_who_is_on_the_front_climbs_alone():
    assert ladder(candidate(0, 0.5, 1.0)).next({0}) == Promotion(candidate(0, 0.5, 1.0), 1)


def test_the_highest_rung_goes_first_and_those_that_left_a_rung_still_count_there():
    made = ladder(*(candidate(i, 0.5 + 0.01 * i, 1.0) for i in range(6)))
    for trial in (5, 4):
        promotion = made.next(())
        assert promotion is not None
        assert promotion.member.trial == trial or promotion.member.trial == 9 - trial
        made.climb(promotion)
        made.add(1, promotion.member)
    made.add(1, candidate(6, 0.4, 1.0))
    assert made.next(()) == Promotion(candidate(5, 0.55, 1.0), 2)


def test_the_top_rung_is_the_end():
    assert ladder(candidate(0, 0.9, 1.0), rung=2).next({0}) is None


def test_what_breaks_a_bound_on_its_cost_never_climbs():
    bound = Constraint.parse("latency_ms<=0.5")
    assert ladder(candidate(0, 0.9, 1.0), constraints=(bound,)).next({0}) is None
    assert ladder(candidate(0, 0.9, 0.4), constraints=(bound,)).next({0}) is not None
    # Training may yet raise an accuracy.
    assert ladder(candidate(0, 0.5, 0.4), constraints=(Constraint.parse("accuracy>=0.9"),)).next({0}) is not None


def test_weights_are_kept_of_those_that_were_trained_and_may_climb():
    first, second = candidate(0, 0.5, 1.0), candidate(1, 0.6, 1.0)
    made = ladder(first)
    made.add(1, second)
    assert not made.keeps(0)
    assert made.keeps(1)
    made.climb(Promotion(second, 2))
    assert not made.keeps(1)


@pytest.fixture(scope="module", autouse=True)
def short_rungs() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fidelity_ladder, "LEAST_SAMPLES", 64)  # the task is tiny
        patch.setattr(nested_path, "PROBE_SECONDS_PER_TRIAL", 10.0)  # a busy machine probes as much as an idle one
        yield


@pytest.fixture(scope="module")
def run(tiny_task: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("ladder") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fidelity_ladder, "COMPARABLE", 10.0)  # the task has 16 networks in all
        return run_search(tiny_task, out=folder, trials=14, threads=1, objectives="accuracy,size")


def check_climbs(run: Run) -> None:
    known = {c.trial: c for c in run.configurations}
    levels = rungs(run.info.samples)
    for trial in (t for t in run.trials if t.rung and t.configuration is not None):
        before = known[int(str(trial.origin).split()[-1])]
        found = known[trial.number]
        assert str(trial.origin).startswith(f"rung {trial.rung}, trial ")
        assert found.policy == before.policy
        if before.samples:
            assert (found.ancestor, found.inherited_samples) == (before.trial, before.seen_samples)
            assert found.samples == levels[trial.rung or 0] - before.samples
        else:
            assert found.samples == levels[trial.rung or 0]


def test_candidates_climb_from_their_own_weights(run: Run):
    assert {t.rung for t in run.trials} == {None, 0, 1, 2}
    assert all(t.configuration.samples == 0 for t in run.trials if t.rung == 0 and t.configuration is not None)
    check_climbs(run)


def test_no_more_climb_than_one_in_three_and_the_front(run: Run):
    counts = [sum(t.rung == rung and t.state == "complete" for t in run.trials) for rung in range(3)]
    assert counts[0] > counts[1]


def test_all_that_was_asked_for_is_tried_and_only_the_front_keeps_weights(run: Run):
    assert len({c.policy.key for c in run.configurations}) == 14
    kept = {int(path.stem) for path in (run.path / "weights").iterdir()}
    path = {t.number for t in run.trials if str(t.origin).startswith("path")}
    assert kept - path == {c.trial for c in run.search_front.configurations} - path


def test_a_run_goes_on_where_its_ladder_stood(run: Run, tiny_task: str):
    climbed = {t.number: str(t.origin) for t in run.trials if t.rung}
    again = run_search(tiny_task, out=run.path, trials=16, threads=1, objectives="accuracy,size", resume=True)
    assert len({c.policy.key for c in again.configurations}) == 16
    origins = [str(t.origin) for t in again.trials if t.rung]
    assert climbed.items() <= {t.number: str(t.origin) for t in again.trials if t.rung}.items()
    assert len(origins) == len(set(origins))


def test_a_climb_that_was_interrupted_is_made_again_by_the_same_candidate(
    tiny_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    said = {"threads": 1, "objectives": "accuracy,size", "trials": 14}
    evaluate, interrupted = TaskEvaluator.evaluate, []

    def interrupting(self: TaskEvaluator, request: EvaluationRequest) -> Evaluation:
        again = request.ancestor is not None and request.ancestor.policy == request.policy
        if again and not interrupted:
            interrupted.append(request.trial)
            signal.raise_signal(signal.SIGINT)  # raised by the task's own code it would be a failed trial
        return evaluate(self, request)

    monkeypatch.setattr(fidelity_ladder, "COMPARABLE", 10.0)
    monkeypatch.setattr(TaskEvaluator, "evaluate", interrupting)
    with pytest.raises(Interrupted):
        run_search(tiny_task, out=tmp_path / "run", **said)
    run = run_search(tiny_task, out=tmp_path / "run", resume=True, **said)
    assert [t.state for t in run.trials if t.number in interrupted] == ["abandoned"]
    assert {t.state for t in run.trials} <= {"complete", "duplicate", "abandoned"}
    assert any(t.rung == 2 and t.state == "complete" for t in run.trials)
    check_climbs(run)


@pytest.mark.parametrize("option", [{"ladder": False}, {"samples": 256}, {"inherit": False}])
def test_without_a_ladder_all_are_trained_alike(tiny_task: str, tmp_path: Path, option: dict[str, object]):
    run = run_search(tiny_task, out=tmp_path / "run", trials=6, threads=1, objectives="accuracy,size", **option)
    assert {t.rung for t in run.trials} == {None}
    assert {c.samples for c in run.configurations} == {run.info.samples}
