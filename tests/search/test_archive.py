from __future__ import annotations

import math

import pytest

from espalier.evaluators.evaluation import Evaluation
from espalier.evaluators.objectives import Constraint
from espalier.evaluators.request import Ancestor
from espalier.search.archive import Archive
from espalier.search.run_folder.trial_record import EVALUATION, policy_name, state_of, weights_name


def found(accuracy, latency=1.0, **known):
    return Evaluation({"accuracy": accuracy, "latency_ms": latency}, "measured", 0.05, 100, {"train": 1.0}, **known)


def evaluate(known, policy, evaluation, *, error=None):
    """Return the trial and the outcome of one evaluation whose weights lie in the folder."""
    trial = known.ask(policy)
    known.archive.begin(trial, policy).write_text("weights")
    return trial.number, known.archive.record(trial, policy, evaluation, error)


def weights(tmp_path):
    return {int(path.stem) for path in (tmp_path / "weights").iterdir()}


def test_a_trial_is_complete_once_policy_values_and_evaluation_are_stored(archive, tmp_path):
    known = archive(8, 8)
    policy = known.policy(4, 4)
    number, outcome = evaluate(known, policy, found(0.7, 0.5))
    trial = known.study.trials[number]
    assert (state_of(trial), trial.values) == ("complete", [0.7, 0.5])
    assert trial.user_attrs[EVALUATION]["metrics"] == {"accuracy": 0.7, "latency_ms": 0.5}
    assert (tmp_path / policy_name(number)).exists()
    assert outcome.metrics == {"accuracy": 0.7, "latency_ms": 0.5}
    assert known.archive.outcome(policy) == outcome
    assert (known.archive.evaluated, known.archive.failed) == (1, 0)


@pytest.mark.parametrize("accuracy", [math.nan, math.inf, None])
def test_an_objective_that_is_no_number_is_a_failure_with_that_reason(archive, tmp_path, accuracy):
    known = archive(8, 8)
    number, outcome = evaluate(known, known.policy(4, 4), found(accuracy))
    assert state_of(known.study.trials[number]) == "failed"
    assert outcome.reason == f"accuracy is {accuracy}"
    assert (known.archive.failed, weights(tmp_path)) == (1, set())


def test_weights_are_kept_while_a_trial_is_on_the_front_and_go_with_it(archive, tmp_path):
    known = archive(8, 8)
    slow, _ = evaluate(known, known.policy(8, 8), found(0.9, 1.0))
    fast, _ = evaluate(known, known.policy(2, 2), found(0.6, 0.2))
    worse, _ = evaluate(known, known.policy(4, 4), found(0.5, 0.5))
    assert weights(tmp_path) == {slow, fast}
    better, _ = evaluate(known, known.policy(6, 6), found(0.95, 0.9))
    assert weights(tmp_path) == {fast, better}
    assert worse not in known.archive.front


def test_weights_that_are_lent_stay_until_they_are_given_back(archive, tmp_path):
    known = archive(8, 8)
    number, _ = evaluate(known, known.policy(8, 8), found(0.9, 1.0))
    known.archive._in_use[number] += 1
    evaluate(known, known.policy(6, 6), found(0.95, 0.9))
    assert number in weights(tmp_path)
    known.archive.release(Ancestor(number, known.policy(8, 8), "weights", 100))
    assert number not in weights(tmp_path)


def test_a_policy_that_is_evaluated_again_keeps_its_better_outcome(archive):
    known = archive(8, 8)
    policy = known.policy(4, 4)
    first, _ = evaluate(known, policy, found(0.7))
    evaluate(known, policy, found(0.6))
    assert known.archive.outcome(policy).trial == first
    better, _ = evaluate(known, policy, found(0.8))
    assert known.archive.outcome(policy).trial == better
    evaluate(known, policy, None, error="diverged")
    assert known.archive.outcome(policy).trial == better
    assert (known.archive.evaluated, known.archive.failed) == (1, 0)
    assert known.archive.trainings.of(policy).samples == 300


def test_constraints_are_set_and_what_breaks_one_is_no_member(archive, tmp_path):
    known = archive(8, 8)
    bound = Constraint.parse("latency_ms<=0.5")
    known.archive = Archive(known.study, tmp_path, objectives=known.archive._objectives, constraints=(bound,))
    number, _ = evaluate(known, known.policy(8, 8), found(0.9, 1.0))
    assert known.study.trials[number].constraints == {str(bound): 1.0}
    assert number not in known.archive.front


def test_what_the_study_knows_is_taken_over_and_other_weights_are_deleted(archive, tmp_path):
    known = archive(8, 8)
    policy, failing = known.policy(4, 4), known.policy(2, 2)
    number, _ = evaluate(known, policy, found(0.7, 0.5))
    evaluate(known, failing, None, error="diverged")
    (tmp_path / weights_name(99)).write_text("of no trial")
    (tmp_path / "weights" / "notes.txt").write_text("the user's own")
    again = Archive(known.study, tmp_path, objectives=known.archive._objectives, constraints=())
    again.load(known.space)
    assert (again.evaluated, again.failed) == (2, 1)
    assert again.outcome(policy).metrics == {"accuracy": 0.7, "latency_ms": 0.5}
    assert again.outcome(failing).reason == "diverged"
    assert {path.name for path in (tmp_path / "weights").iterdir()} == {f"{number}.safetensors", "notes.txt"}


def test_an_evaluation_that_was_stored_but_not_told_is_adopted(archive):
    known = archive(8, 8)
    policy = known.policy(4, 4)
    trial = known.ask(policy)
    assert not known.archive.adopt(known.study.trials[trial.number])
    known.archive.begin(trial, policy)
    trial.set_user_attr(EVALUATION, found(0.7, 0.5).to_dict())
    assert known.archive.adopt(known.study.trials[trial.number])
    assert known.study.trials[trial.number].values == [0.7, 0.5]
