from __future__ import annotations

import dataclasses

from espalier.evaluators.configuration import Configuration
from espalier.evaluators.evaluation import Evaluation
from espalier.search.checkpoints import Checkpoints
from espalier.search.run_folder.trial_record import weights_name
from espalier.spaces.importance.rankings import Rankings
from espalier.spaces.policy import Policy
from espalier.testing.analytic import analytic_graph

GRAPH = analytic_graph(8, 8)
RANKINGS = Rankings({"l2": {group.name: tuple(range(8)) for group in GRAPH}})


def policy(first, second):
    return Policy.from_kept(GRAPH, {"layer0": first, "layer1": second}, criterion="l2")


def checkpoints(tmp_path, *trials):
    (tmp_path / "weights").mkdir()
    for trial in trials:
        (tmp_path / weights_name(trial)).write_text("weights")
    return Checkpoints(GRAPH, RANKINGS, tmp_path)


def member(trial, kept, samples, *, params=100, inherited=0):
    found = Evaluation({"params": params}, "measured", 0.1, samples, inherited_samples=inherited)
    return Configuration(trial, kept, found)


def test_the_most_trained_network_that_keeps_all_is_taken(tmp_path):
    known = checkpoints(tmp_path, 1, 2, 3)
    members = [
        member(1, policy(8, 8), 100),
        member(2, policy(6, 6), 100, inherited=100),
        member(3, policy(2, 8), 900),
    ]
    found = known.nearest(policy(4, 4), members)
    assert (found.trial, found.samples, found.policy) == (2, 200, policy(6, 6))
    assert found.weights_path == str((tmp_path / weights_name(2)).resolve())


def test_of_equally_trained_ones_the_smallest_then_the_oldest(tmp_path):
    known = checkpoints(tmp_path, 1, 2, 3)
    members = [
        member(1, policy(8, 8), 100, params=80),
        member(2, policy(6, 6), 100, params=60),
        member(3, policy(6, 7), 100, params=60),
    ]
    assert known.nearest(policy(4, 4), members).trial == 2


def test_untrained_networks_and_lost_weights_are_no_ancestors(tmp_path):
    known = checkpoints(tmp_path, 1)
    assert known.nearest(policy(4, 4), [member(1, policy(8, 8), 0), member(2, policy(8, 8), 100)]) is None


def test_another_precision_of_the_same_network_takes_over_all_it_learnt(tmp_path):
    known = checkpoints(tmp_path, 1)
    same = member(1, policy(4, 4), 100)
    assert known.nearest(dataclasses.replace(policy(4, 4), precision="int8"), [same]).trial == 1
