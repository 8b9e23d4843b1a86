"""The order of the steps, each with stand-ins for the others that only say what they would propose."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from espalier.search.budget.training_budget import TrainingBudget
from espalier.search.early_stopping import EarlyStopping
from espalier.search.generation.steps import GenerationSteps

NEW, CLIMB, FURTHER = "new", "climb", "further"


class Says:
    """A step that proposes one thing, or nothing."""

    def __init__(self, proposal, *, is_due=False, has_begun=False):
        self.proposal, self.is_due, self.has_begun = proposal, is_due, has_begun

    def propose(self, running):
        return self.proposal


class First:
    """The path: what is to come of it."""

    def __init__(self, some=False, to_come=()):
        self._some, self._to_come = some, to_come

    def has_some(self, running):
        return self._some

    def to_come(self, running):
        return self._to_come


def steps(*, new=NEW, climb=CLIMB, further=FURTHER, due=False, begun=False, first=None, waiting=0, tried=0, left=None,
          patience=None):  # fmt: skip
    training_budget = TrainingBudget(100, budget=None if left is None else 100.0, rate=1000.0)
    return GenerationSteps(
        queue=SimpleNamespace(waiting=waiting),
        first=(first or First(),),
        new=Says(new),
        halving=Says(climb),
        refinement=Says(further, is_due=due, has_begun=begun),
        patience=patience or EarlyStopping(None),
        training_budget=training_budget,
        archive=SimpleNamespace(evaluated=tried),
        trials=10,
        elapsed=lambda: 50.0,
        time_left=lambda: left,
    )


@pytest.mark.parametrize(
    ("made", "proposed"),
    [
        (steps(), CLIMB),
        (steps(climb=None), NEW),
        (steps(first=First(some=True)), NEW),
        (steps(waiting=1), NEW),
        (steps(climb=None, new=None), FURTHER),
        (steps(tried=10), CLIMB),
        (steps(tried=10, climb=None), FURTHER),
        (steps(due=True), FURTHER),
        (steps(due=True, further=None), NEW),
        (steps(due=True, further=None, begun=True), None),
        (steps(due=True, further=None, left=0.001), None),
        (steps(due=True, first=First(some=True, to_come=("level",))), NEW),
        (steps(due=True, tried=10), FURTHER),
    ],
    ids=[
        "who climbs goes before new networks",
        "new networks where nobody climbs",
        "the path goes first",
        "what a killed search left goes first",
        "members of the front where there is nothing else",
        "all tried: climbing goes on",
        "all tried: then members of the front",
        "refinement is due",
        "nothing to train on: new networks use the time",
        "refinement is over",
        "no time for another candidate",
        "the path ends before refinement begins",
        "all tried and due",
    ],
)
def test_the_order(made, proposed):
    assert made.propose({}) == proposed


def test_new_networks_under_way_count_as_tried():
    running = {1: SimpleNamespace(is_new=True), 2: SimpleNamespace(is_new=False)}
    assert steps(tried=9, climb=None).propose(running) == FURTHER
    assert steps(tried=8, climb=None).propose(running) == NEW


def test_where_the_front_has_stopped_to_grow_nothing_new_is_tried():
    over = EarlyStopping(1)
    over.take_in(0.0)
    assert steps(patience=over, climb=None).propose({}) == FURTHER


def test_the_end_of_the_path_is_noted_once_nothing_of_it_is_to_come():
    on_the_way, done = steps(left=50.0, first=First(to_come=("level",))), steps(left=50.0)
    for made in (on_the_way, done):
        made.training_budget.begin(0.0)
        made.propose({})
    assert on_the_way.training_budget._path_ended is None
    assert done.training_budget._path_ended == 50.0
