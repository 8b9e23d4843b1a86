"""What the search weighs by the score, where a lower one is better."""

from __future__ import annotations

import pytest

from espalier.evaluators.configuration import Configuration
from espalier.evaluators.evaluation import Evaluation
from espalier.evaluators.objectives import objectives
from espalier.evaluators.task.measure import ACCURACY, Measure
from espalier.search.budget.path_training import PathTraining
from espalier.search.running_front import RunningFront
from espalier.search.sensitivity.nested_levels import Level
from espalier.spaces.policy import Choice, Policy

ERROR = Measure("RMSE", "minimize", share=False)


def policy(kept: int) -> Policy:
    return Policy("0", {"a": Choice("channel", "l2", kept, 8)})


def configuration(trial: int, score: float, latency: float) -> Configuration:
    evaluation = Evaluation({"accuracy": score, "latency_ms": latency}, "measured", 0.05, 100)
    return Configuration(trial, policy(trial), evaluation)


@pytest.mark.parametrize(
    ("measure", "dense", "scores"),
    [(ACCURACY, 0.8, (0.7, 0.6, 0.9)), (ERROR, 4.0, (5.0, 6.0, 3.0))],
)
def test_a_running_front_keeps_the_better_scores(measure, dense, scores):
    front = RunningFront(objectives("accuracy,latency"), (), measure)
    assert front.add(configuration(1, scores[0], 2.0)) == ()
    assert front.add(configuration(2, scores[1], 3.0)) == (2,)  # worse and slower
    assert front.add(configuration(3, scores[2], 2.0)) == (1,)  # better and as fast
    assert front.best_score() == scores[2]
    assert front.hypervolume({"accuracy": dense, "latency_ms": 4.0}) > 0


@pytest.mark.parametrize(("measure", "best", "bad"), [(ACCURACY, 0.8, 0.3), (ERROR, 4.0, 9.0)])
def test_a_path_whose_networks_are_lost_gets_no_training(measure, best, bad):
    levels = (Level(policy(6), 0.7, 0.1), Level(policy(3), 0.3, 0.4))
    training = PathTraining(levels, measure=measure)
    assert not training.is_hopeless(policy(3))
    training.learn(policy(6), {"accuracy": best}, {"accuracy": best})
    assert not training.is_hopeless(policy(3))
    lost = PathTraining(levels, measure=measure)
    lost.learn(policy(6), {"accuracy": bad}, {"accuracy": best})
    assert lost.is_hopeless(policy(3))
    assert lost.weight(policy(3)) < PathTraining(levels, measure=measure).weight(policy(3))
