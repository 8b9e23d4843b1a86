"""How the time of a search is shared out: along the path, over other candidates, and in refinement."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.evaluators.configuration import Configuration
from espalier.evaluators.evaluation import Evaluation
from espalier.evaluators.objectives import objective
from espalier.evaluators.request import Ancestor, batch_seed
from espalier.search.budget.path_training import LEAST_ROOM, PathTraining
from espalier.search.budget.shares import EVEN_SHARE, PATH_SHARE, REFINEMENT_SHARE
from espalier.search.budget.training_budget import LEAST_SAMPLES, TrainingBudget
from espalier.search.early_stopping import EarlyStopping
from espalier.search.options import SearchOptions
from espalier.search.refinement_plan import MoreTraining, RefinementPlan, filled
from espalier.search.running_front import RunningFront
from espalier.search.sensitivity.nested_levels import Level
from espalier.search.training_log import Training, TrainingLog
from espalier.spaces.policy import Policy
from espalier.testing.analytic import analytic_graph

BIG, MIDDLE, SMALL = (Policy.uniform(analytic_graph(64, 64), sparsity) for sparsity in (0.25, 0.5, 0.75))
OBJECTIVES = (objective("accuracy"), objective("latency"))
DENSE = {"accuracy": 0.8, "latency_ms": 1.0}
DUE = 100 * (1 - REFINEMENT_SHARE)
"""When refinement begins, of 100 seconds."""


def levels() -> tuple[Level, ...]:
    # Steps in cost 0.36, 0.16 and 0.48; in loss 0.25, 0.25 and 0.75; the geometric means are 0.3, 0.2 and 0.6.
    return Level(BIG, 0.64, 0.25), Level(MIDDLE, 0.48, 0.5), Level(SMALL, 0.0, 1.25)


def test_training_goes_where_a_step_both_saves_and_breaks():
    training = PathTraining(levels())
    even = EVEN_SHARE / 3
    expected = [even + (1 - EVEN_SHARE) * part / 1.1 for part in (0.3, 0.2, 0.6)]
    assert [training.weight(policy) for policy in (BIG, MIDDLE, SMALL)] == pytest.approx(expected)


def test_a_step_that_saves_nothing_gets_its_even_share_alone():
    training = PathTraining((Level(BIG, 0.5, 0.3), Level(SMALL, 0.5, 0.9)))
    assert training.weight(SMALL) == pytest.approx(EVEN_SHARE / 2)


def test_what_networks_lost_tells_what_later_ones_will():
    training = PathTraining(levels())
    before = training.weight(MIDDLE), training.weight(SMALL)
    # 0.1 of the 0.4 down to half the dense accuracy, for a told loss of 0.25: as much again for the next.
    training.learn(BIG, {"accuracy": 0.7}, DENSE)
    assert training.weight(MIDDLE) == pytest.approx(before[0] * 0.5)
    assert training.weight(SMALL) == pytest.approx(before[1] * LEAST_ROOM)


def test_what_is_expected_below_the_reference_point_is_hopeless():
    training = PathTraining(levels())
    training.learn(BIG, {"accuracy": 0.7}, DENSE)
    assert training.is_hopeless(SMALL)
    assert training.is_hopeless(replace(SMALL, precision="int8"))
    assert not training.is_hopeless(MIDDLE)


def test_a_small_first_step_dooms_nothing():
    training = PathTraining((Level(BIG, 0.64, 0.02), Level(SMALL, 0.0, 2.0)))
    training.learn(BIG, {"accuracy": 0.78}, DENSE)
    assert not training.is_hopeless(SMALL)


def test_the_last_network_tells_what_is_hopeless():
    training = PathTraining(levels())
    training.learn(BIG, {"accuracy": 0.7}, DENSE)
    training.learn(MIDDLE, {"accuracy": 0.76}, DENSE)
    assert not training.is_hopeless(SMALL)


def test_what_must_be_small_is_trained_whatever_it_loses():
    training = PathTraining(levels(), reaches_below=True)
    training.learn(BIG, {"accuracy": 0.1}, DENSE)
    assert not training.is_hopeless(SMALL)


def test_a_path_takes_its_share_of_the_time():
    training_budget = TrainingBudget(
        1000, 500.0, rate=100.0, path=PathTraining((Level(BIG, 0.5, 0.4), Level(SMALL, 0.0, 0.8)))
    )
    training_budget.begin(100.0)
    assert training_budget.on_path(BIG, [SMALL], 100.0) == int(100 * PATH_SHARE * 400 / 2)
    training_budget.learn(9000, 100.0, {"train": 8.0, "cost": 2.0})  # 80 of 100 seconds were training
    assert training_budget.rate == pytest.approx(9000 / 80)
    assert training_budget.on_path(SMALL, [], 200.0) == int(9000 / 80 * (PATH_SHARE * 400 - 100 - 20))
    assert training_budget.refinement_begins() == pytest.approx(500 - REFINEMENT_SHARE * 400)


def test_what_a_path_leaves_over_is_the_last_steps():
    training_budget = TrainingBudget(1000, 500.0, rate=100.0, path=PathTraining((Level(BIG, 0.5, 0.4),)))
    training_budget.begin(100.0)
    training_budget.end_path(200.0)
    training_budget.end_path(300.0)
    between = (1 - PATH_SHARE - REFINEMENT_SHARE) * 400
    assert training_budget.refinement_begins() == pytest.approx(200 + between)
    late = TrainingBudget(1000, 500.0, path=PathTraining((Level(BIG, 0.5, 0.4),)))
    late.begin(100.0)
    late.end_path(400.0)
    assert late.refinement_begins() == pytest.approx(500 - REFINEMENT_SHARE * 400)


def test_without_a_path_candidates_have_their_time():
    training_budget = TrainingBudget(1000, 500.0, rate=100.0)
    training_budget.begin(100.0)
    training_budget.end_path(100.0)
    assert training_budget.refinement_begins() == pytest.approx(500 - REFINEMENT_SHARE * 400)


def test_without_a_budget_every_candidate_gets_the_same():
    training_budget = TrainingBudget(1000, rate=100.0, path=PathTraining((Level(BIG, 0.5, 0.1),)))
    assert training_budget.on_path(BIG, [], 5.0) == training_budget.off_path(None) == 1000
    assert training_budget.refinement_begins() is None


def test_the_last_candidate_gets_what_time_is_left():
    training_budget = TrainingBudget(12_800, 200.0, rate=1000.0)
    assert training_budget.off_path(3.0) == 3000
    assert training_budget.off_path(100.0) == 12_800
    assert training_budget.off_path(0.0) == LEAST_SAMPLES


def test_time_is_filled_up_to_one_level():
    # Worth 1, 2 and 1; 5, 2 and 30 seconds spent. 13 more: up to 20 / 3 seconds for a worth of 1; the third has more.
    assert filled([5, 2, 30], [1, 2, 1], 13) == pytest.approx([20 / 3 - 5, 40 / 3 - 2, 0])
    assert filled([5, 2], [0, 0], 10) == [0, 0]
    assert filled([], [], 10) == []


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 1000)), min_size=1, max_size=8),
    st.integers(1, 1000),
)
def test_all_the_time_is_filled_and_none_taken_away(members: list[tuple[int, int]], seconds: int):
    spent, worths = zip(*members, strict=True)
    shares = filled(spent, worths, seconds)
    assert min(shares) >= -1e-6 * seconds
    assert sum(shares) == pytest.approx(seconds, rel=1e-6)


def member(trial: int, policy: Policy, accuracy: float, latency_ms: float) -> Configuration:
    evaluation = Evaluation({"accuracy": accuracy, "latency_ms": latency_ms}, "measured", 0.1, 100)
    return Configuration(trial, policy, evaluation)


class KnownFront:
    """What refinement reads of an archive."""

    def __init__(self, *members: tuple[Configuration, float]) -> None:
        self.front = RunningFront(OBJECTIVES, ())
        self.trainings = TrainingLog()
        for configuration, seconds in members:
            self.front.add(configuration)
            evaluation = Evaluation({}, "measured", 0.1, round(1000 * seconds), {"train": seconds})
            self.trainings.add(configuration.policy, evaluation)


def refinement_plan(archive: KnownFront, budget: float = 100.0, **options: Any) -> RefinementPlan:
    training_budget = TrainingBudget(1000, budget, rate=1000.0)
    training_budget.begin(0.0)
    options = SearchOptions(task="t", objectives="accuracy,latency", budget=budget, threads=1, **options)
    return RefinementPlan(archive, training_budget, options, DENSE)  # pyright: ignore[reportArgumentType]


def test_the_member_that_adds_most_is_trained_first_and_longest():
    # A better score of the first counts from 0.4 to 1.0 of the latency, of the second from 0.35 to 0.4.
    archive = KnownFront((member(1, BIG, 0.7, 0.4), 5.0), (member(2, SMALL, 0.68, 0.35), 5.0))
    found = refinement_plan(archive).next([], elapsed=DUE)
    assert found is not None
    assert found.member.trial == 1
    left = 1000 * 100 * REFINEMENT_SHARE
    assert 0.75 * left < found.samples <= left


def test_a_training_too_short_to_mend_anything_is_not_begun():
    # Four of 100 seconds are left: too few for what was trained for 40 s, enough for what was trained for 10.
    long, short = (member(1, BIG, 0.7, 0.4), 40.0), (member(2, SMALL, 0.68, 0.35), 10.0)
    assert refinement_plan(KnownFront(long)).next([], elapsed=96.0) is None
    found = refinement_plan(KnownFront(long, short)).next([], elapsed=96.0)
    assert found is not None
    assert found.member.trial == 2


def test_what_nobody_else_could_use_goes_to_the_one_that_is_trained():
    first, second = (member(1, BIG, 0.7, 0.4), 40.0), (member(2, SMALL, 0.68, 0.35), 36.0)
    found = refinement_plan(KnownFront(first, second)).next([], elapsed=84.0)
    assert found is not None
    assert found.samples == 16_000


def test_a_member_being_trained_is_not_trained_twice():
    archive = KnownFront((member(1, BIG, 0.7, 0.4), 5.0), (member(2, SMALL, 0.68, 0.35), 5.0))
    found = refinement_plan(archive).next([1], elapsed=60.0)
    assert found is not None
    assert found.member.trial == 2


def test_a_member_whose_training_failed_is_given_up():
    best, other = member(1, BIG, 0.7, 0.4), member(2, SMALL, 0.68, 0.35)
    step = refinement_plan(KnownFront((best, 5.0), (other, 5.0)))
    step.give_up(MoreTraining(best, BIG, 1000))
    found = step.next([], elapsed=60.0)
    assert found is not None
    assert found.member.trial == 2
    step.give_up(MoreTraining(other, SMALL, 1000))
    assert step.next([], elapsed=60.0) is None


def test_the_last_step_comes_late_and_ends_with_the_budget():
    step = refinement_plan(KnownFront((member(1, BIG, 0.7, 0.4), 5.0)))
    assert not step.is_due(100 * (1 - REFINEMENT_SHARE) - 1)
    assert step.is_due(100 * (1 - REFINEMENT_SHARE))
    assert step.next([], elapsed=99.9) is None


def test_where_trials_are_used_up_early_it_takes_no_more_than_its_share():
    step = refinement_plan(KnownFront((member(1, BIG, 0.7, 0.4), 5.0)))
    found = step.next([], elapsed=12.0)
    assert found is not None
    assert found.samples == pytest.approx(1000 * (12.0 / (1 - REFINEMENT_SHARE) - 12.0), rel=0.01)


def test_what_was_never_trained_is_not_trained_on():
    assert refinement_plan(KnownFront((member(0, BIG, 0.8, 0.9), 0.0))).next([], elapsed=60.0) is None


def test_training_of_one_policy_adds_up_and_that_of_its_ancestors_does_not():
    log = TrainingLog()
    log.add(BIG, Evaluation({}, "measured", 0.1, 2000, {"train": 4.0}))
    log.add(SMALL, Evaluation({}, "measured", 0.1, 3000, {"train": 3.0}, inherited_samples=2000, ancestor=1))
    log.add(SMALL, Evaluation({}, "measured", 0.1, 600, {"train": 2.0}, inherited_samples=5000, ancestor=2))
    assert log.of(BIG) == Training(4.0, 500.0, 2000)
    assert log.of(SMALL) == Training(5.0, 300.0, 3600)
    assert log.of(MIDDLE) is None


INT8 = replace(BIG, precision="int8")


def test_what_a_member_learnt_its_twin_takes_over_once():
    archive = KnownFront((member(1, BIG, 0.7, 0.4), 5.0))
    step = refinement_plan(archive, precision="fp32,int8")
    first = step.next([], elapsed=60.0)
    assert first is not None
    trained = member(2, BIG, 0.71, 0.4)
    archive.front.add(trained)
    step.take_in(2, first)
    twin = step.next([], elapsed=80.0)
    assert twin == MoreTraining(trained, INT8, 0)
    step.take_in(3, twin)
    further = step.next([], elapsed=81.0)
    assert further is not None
    assert (further.member.trial, further.policy) == (2, BIG)


def test_what_a_member_learnt_in_vain_its_twin_does_not_take_over():
    step = refinement_plan(KnownFront((member(1, BIG, 0.7, 0.4), 5.0)), precision="fp32,int8")
    first = step.next([], elapsed=60.0)
    assert first is not None
    step.take_in(2, first)
    again = step.next([], elapsed=80.0)
    assert again is not None
    assert again.member.trial == 1


def test_twins_share_their_networks_training():
    # The int8 one was never trained itself: it has the training of the one network, as the fp32 one has.
    fast, best = member(1, INT8, 0.69, 0.2), member(2, BIG, 0.7, 0.9)
    found = refinement_plan(KnownFront((best, 5.0), (fast, 0.0)), precision="fp32,int8").next([], elapsed=DUE)
    assert found is not None
    assert found.policy == INT8  # faster by far, and so worth most
    assert found.samples == pytest.approx(1000 * 100 * REFINEMENT_SHARE)


def test_patience_counts_candidates_in_a_row():
    patience = EarlyStopping(2)
    for hypervolume, over in ((0.1, False), (0.1, False), (0.2, False), (0.2001, False), (0.2, True)):
        patience.take_in(hypervolume)
        assert patience.is_over is over


def test_without_a_number_patience_has_no_end():
    patience = EarlyStopping(None)
    for _ in range(1000):
        patience.take_in(0.0)
    assert not patience.is_over


def test_what_goes_on_sees_other_batches_and_equal_heirs_the_same():
    parent = Ancestor(1, BIG, "w", 2000)
    assert batch_seed(7, None) == 7
    assert batch_seed(7, parent) == batch_seed(7, replace(parent, trial=4)) != 7
    assert batch_seed(7, parent) != batch_seed(7, replace(parent, samples=2500))


def test_a_candidate_is_affordable_while_its_training_is_worth_the_rest_of_it():
    training_budget = TrainingBudget(4096, 100.0, rate=1000.0)
    training_budget.learn(1000, 3.0, {"train": 1.0, "score": 2.0})
    assert training_budget.affords_another(2.0 + 2.0)
    assert not training_budget.affords_another(2.0 + 1.99)
    training_budget.learn(100, 2.0, {"train": 1.0, "score": 1.0})
    assert training_budget.affords_another(1.0 + LEAST_SAMPLES / 100)
    assert not training_budget.affords_another(1.0 + LEAST_SAMPLES / 100 - 0.01)
    assert training_budget.affords_another(None)
