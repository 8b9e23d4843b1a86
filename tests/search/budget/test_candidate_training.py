from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

from espalier.evaluators.configuration import Configuration
from espalier.evaluators.evaluation import Evaluation
from espalier.evaluators.request import Ancestor
from espalier.search.budget.candidate_training import CandidateTraining
from espalier.search.budget.training_budget import TrainingBudget
from espalier.search.generation import Candidate
from espalier.search.run_folder.origin import Origin, OriginKind
from espalier.search.training_log import TrainingLog
from espalier.spaces.policy import Policy
from espalier.testing.analytic import analytic_graph

GRAPH = analytic_graph(64, 64)
DENSE, HALF = Policy.dense(GRAPH), Policy.uniform(GRAPH, 0.5)
MEMBER = Configuration(3, HALF, Evaluation({"accuracy": 0.5}, "measured", 0.1, 40))
FULL = 1000


def candidate(policy=HALF, **known):
    return Candidate(SimpleNamespace(number=7), policy, Origin(OriginKind.SAMPLER), None, **known)


def budget(*, seconds=None, on_path=False, trained=0):
    trainings = TrainingLog()
    if trained:
        trainings.add(HALF, Evaluation({}, "measured", 0.1, trained, {"train": 1.0}))
    archive = SimpleNamespace(
        trainings=trainings, ladder=SimpleNamespace(rungs=(0, 250, FULL)), is_on_path=lambda _: on_path
    )
    training_budget = TrainingBudget(FULL, budget=seconds, rate=None if seconds is None else 100.0)
    return CandidateTraining(training_budget, archive, lambda: 0.0, lambda: seconds)


def ancestor(policy=HALF):
    return Ancestor(3, policy, "weights", 40)


@pytest.mark.parametrize(
    ("made", "given", "parent", "samples"),
    [
        (budget(), candidate(), None, FULL),
        (budget(), candidate(DENSE), None, FULL),
        (budget(seconds=60.0), candidate(DENSE), None, 0),
        (budget(seconds=60.0), candidate(), None, FULL),
        (budget(seconds=6.0), candidate(), None, 600),
        (budget(), candidate(samples=77, trains_on=MEMBER), ancestor(), 77),
        (budget(), candidate(rung=0), None, 0),
        (budget(), candidate(rung=2, trains_on=MEMBER), ancestor(), FULL),
        (budget(trained=250), candidate(rung=2, trains_on=MEMBER), ancestor(), FULL - 250),
        (budget(trained=FULL), candidate(rung=2, trains_on=MEMBER), ancestor(), 0),
        (budget(trained=250), candidate(rung=2, trains_on=MEMBER), ancestor(DENSE), FULL),
        (budget(), candidate(dataclasses.replace(HALF, precision="int8")), ancestor(), 0),
    ],
    ids=[
        "as the task says", "the dense network too", "under a budget not the dense network", "what time allows is more",
        "what time allows is less", "the step decides", "the lowest rung", "a rung", "a rung, less what it had",
        "a rung that its twin has had", "another network's training does not count", "the same at another precision",
    ],
)  # fmt: skip
def test_how_long_a_candidate_is_trained(made, given, parent, samples):
    assert made.samples(given, parent, ()) == samples


def test_the_path_shares_its_time_with_what_is_to_come(monkeypatch):
    made = budget(seconds=60.0, on_path=True)
    seen = []
    monkeypatch.setattr(
        TrainingBudget, "on_path", lambda _, policy, later, elapsed: seen.append((policy, later, elapsed)) or 5
    )
    assert made.samples(candidate(), None, (DENSE,)) == 5
    assert seen == [(HALF, (DENSE,), 0.0)]
