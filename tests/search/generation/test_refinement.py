from __future__ import annotations

import pytest

from espalier.evaluators.evaluation import Evaluation
from espalier.search.archive import Outcome
from espalier.search.budget.training_budget import REFINEMENT_SHARE, TrainingBudget
from espalier.search.generation.refinement import Refinement
from espalier.search.options import SearchOptions
from espalier.search.refinement_plan import RefinementPlan
from espalier.search.run_folder.origin import Origin, OriginKind

DENSE = {"accuracy": 0.9, "latency_ms": 1.0}
BUDGET = 100.0


@pytest.fixture
def made(archive):
    def make(seconds, *, precision="fp32"):
        known = archive(64, 64, precisions=tuple(precision.split(",")))
        training_budget = TrainingBudget(100, budget=BUDGET, rate=1000.0)
        training_budget.begin(0.0)
        options = SearchOptions(task="t", budget=BUDGET, objectives="accuracy,latency", precision=precision)
        step = Refinement(
            RefinementPlan(known.archive, training_budget, options, DENSE), known.space, known.queue, lambda: seconds
        )
        return known, step

    return make


DUE = BUDGET * (1 - REFINEMENT_SHARE)


def test_it_is_due_for_the_last_share_of_the_budget(made):
    assert not made(DUE - 1)[1].is_due
    assert made(DUE + 1)[1].is_due


def test_the_member_whose_better_score_adds_most_is_trained_on(made):
    known, step = made(DUE)
    poor = known.add(known.policy(16, 16), 0.6, 0.2, samples=1000)
    known.add(known.policy(60, 60), 0.88, 0.95, samples=1000)
    found = step.propose({})
    assert found.trains_on.trial == poor
    assert found.origin == Origin(OriginKind.REFINEMENT, trial=poor)
    assert found.samples > 512
    assert step.has_begun
    other = step.propose({found.trial.number: found})
    assert other is None or other.trains_on.trial != poor


def test_what_failed_is_not_trained_on_again(made):
    known, step = made(DUE)
    known.add(known.policy(16, 16), 0.6, 0.2, samples=1000)
    found = step.propose({})
    step.observe(found, Outcome(found.trial.number, None, "diverged"))
    assert step.propose({}) is None


def test_what_was_trained_on_is_evaluated_at_the_other_precision_too(made):
    known, step = made(DUE, precision="fp32,int8")
    known.add(known.policy(16, 16), 0.6, 0.2, samples=1000)
    found = step.propose({})
    known.archive.begin(found.trial, found.policy)
    better = Evaluation({"accuracy": 0.7, "latency_ms": 0.2}, "measured", 0.05, found.samples, {"train": 1.0})
    step.observe(found, known.archive.record(found.trial, found.policy, better, None))
    twin = step.propose({})
    assert (twin.policy.precision, twin.samples, twin.trains_on.trial) == ("int8", 0, found.trial.number)
