from __future__ import annotations

import random

import optuna

from espalier.evaluators.cost_prediction import PredictedCost
from espalier.evaluators.evaluation import Evaluation
from espalier.search.generation import Suggestion
from espalier.search.generation.cost_filter import LazyCostFilter
from espalier.search.generation.duplicates import Duplicates
from espalier.search.generation.new_networks import MAX_REJECTIONS, NewNetworks
from espalier.search.generation.random_draws import RandomSource
from espalier.search.run_folder.origin import Origin, OriginKind
from espalier.search.run_folder.trial_record import RUNG, state_of

METHOD = Origin(OriginKind.METHOD, "uniform", "0.5")


class Given:
    """A source of policies in their order."""

    def __init__(self, space, policies, origin=METHOD):
        self._left = [Suggestion(space.values(policy), origin) for policy in policies]

    def suggest(self, running):
        return self._left.pop(0) if self._left else None


class Screen:
    """Turns down whatever it is told to."""

    def __init__(self, objection):
        self._objection, self.predicted = objection, []

    def predict(self, policy):
        self.predicted.append(policy)
        return PredictedCost(1.0, 0.9, 1.1, 10, 10)

    def objection(self, policy):
        return self._objection


def step(known, *sources, cost_filter=None, has_path=False):
    duplicates = Duplicates(known.archive)
    return NewNetworks(
        known.space,
        known.archive,
        known.queue,
        sources,
        RandomSource(known.space, known.archive, random.Random(0)),
        duplicates,
        LazyCostFilter(lambda: cost_filter, known.archive, has_path=has_path),
    )


def test_sources_are_asked_in_order_and_then_the_sampler(archive):
    known = archive(8, 8)
    first, second = known.policy(8, 4), known.policy(4, 4)
    new = step(known, Given(known.space, [first]), Given(known.space, [second]))
    found = [new.propose({}) for _ in range(3)]
    assert [c.policy for c in found[:2]] == [first, second]
    assert [c.origin.kind for c in found] == [OriginKind.METHOD, OriginKind.METHOD, OriginKind.SAMPLER]
    assert all(c.is_new and c.rung is None and c.step is new for c in found)


def test_what_a_killed_search_left_comes_before_every_source(archive):
    known = archive(8, 8)
    known.study.enqueue_trial(known.space.values(known.policy(2, 2)))
    new = step(known, Given(known.space, [known.policy(4, 4)]))
    assert new.propose({}).policy == known.policy(2, 2)
    assert new.propose({}).policy == known.policy(4, 4)


def test_what_is_known_is_answered_and_what_runs_is_waited_for(archive):
    known = archive(8, 8)
    done, running = known.policy(8, 4), known.policy(4, 4)
    number = known.add(done, 0.9, 1.0)
    under_way = known.running(running)
    new = step(known, Given(known.space, [done, running, known.policy(2, 2)]))
    found = new.propose(under_way)
    assert found.policy == known.policy(2, 2)
    answered, waiting = known.study.trials[found.trial.number - 2 : found.trial.number]
    assert (state_of(answered), answered.user_attrs["duplicate_of"]) == ("duplicate", number)
    assert answered.values == [0.9, 1.0]
    assert waiting.state == optuna.trial.TrialState.RUNNING
    assert [trial.number for trial in new.duplicates.waiting] == [waiting.number]

    (candidate,) = under_way.values()
    known.archive.begin(candidate.trial, running)
    known.archive.record(candidate.trial, running, Evaluation({"accuracy": 0.5, "latency_ms": 0.2}, "m", 0.0), None)
    new.duplicates.settle(candidate)
    assert known.study.trials[waiting.number].values == [0.5, 0.2]
    assert new.duplicates.waiting == ()


def test_a_space_that_is_known_has_nothing_left(archive):
    known = archive(2)
    new = step(known)
    first = new.propose({})
    assert new.propose({first.trial.number: first}) is not None
    for kept in (1, 2):
        known.add(known.policy(kept), 0.5, 1.0)
    assert new.propose({}) is None


def test_candidates_off_the_path_begin_at_the_lowest_rung_and_the_users_do_not(archive):
    known = archive(8, 8, rungs=(0, 100))
    given = Given(known.space, [known.policy(2, 2)], Origin(OriginKind.GIVEN, detail="1"))
    new = step(known, given, Given(known.space, [known.policy(4, 4)]))
    found = [new.propose({}), new.propose({})]
    assert [candidate.rung for candidate in found] == [None, 0]
    assert [known.study.trials[c.trial.number].user_attrs.get(RUNG) for c in found] == [None, 0]


def test_what_costs_too_much_is_turned_down_with_its_reason_but_not_for_ever(archive):
    known = archive(64, 64)
    cost_filter = Screen("too slow")
    new = step(known, cost_filter=cost_filter)
    found = new.propose({})
    rejected = [trial for trial in known.study.trials if state_of(trial) == "rejected"]
    assert len(rejected) == MAX_REJECTIONS
    assert {trial.user_attrs["reason"] for trial in rejected} == {"too slow"}
    assert found.trial.number == MAX_REJECTIONS
    assert known.archive.rejected == MAX_REJECTIONS


def test_what_comes_first_is_never_turned_down_and_beside_a_path_not_even_predicted(archive):
    known = archive(8, 8)
    for has_path, count in ((False, 1), (True, 0)):
        cost_filter = Screen("too slow")
        policy = known.policy(4, 4) if has_path else known.policy(2, 2)
        source = Given(known.space, [policy], Origin(OriginKind.GIVEN, detail="1"))
        assert step(known, source, cost_filter=cost_filter, has_path=has_path).propose({}).policy == policy
        assert len(cost_filter.predicted) == count


def test_random_draws_avoid_what_is_known_or_under_way(archive):
    known = archive(2)
    draws = RandomSource(known.space, known.archive, random.Random(1))
    known.add(known.policy(1), 0.5, 1.0)
    found = draws.suggest({})
    assert (known.space.policy(found.values), found.origin.kind) == (known.policy(2), OriginKind.RANDOM)
    assert draws.suggest(known.running(known.policy(2))) is None
