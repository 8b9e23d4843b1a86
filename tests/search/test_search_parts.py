"""The parts of a search that can be told apart: distributions, starting points, samplers, fronts, the log's clock."""

from __future__ import annotations

import io
import random
import signal

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, IntDistribution
from rich.console import Console

from espalier.errors import InputError
from espalier.evaluators.configuration import Configuration
from espalier.evaluators.evaluation import Evaluation
from espalier.evaluators.front import Front
from espalier.evaluators.objectives import Constraint, objectives
from espalier.search.distributions import check_values, distributions, draw
from espalier.search.interrupts import Interrupts
from espalier.search.progress import RichProgress, Snapshot, clock
from espalier.search.run_folder.event_log import searched_seconds
from espalier.search.running_front import RunningFront
from espalier.search.samplers import SAMPLERS, derived_seed, make_sampler
from espalier.search.starting_points import Known, starting_points
from espalier.spaces.policy import Policy
from espalier.spaces.search_space import SearchSpace
from espalier.testing.analytic import analytic_graph

NAMES = ("accuracy", "latency_ms", "size_bytes")
OBJECTIVES = objectives("accuracy,latency,size")


def test_distributions_are_those_of_the_space():
    space = SearchSpace(analytic_graph(8, 20), criteria=("l1", "l2"), channel_multiple=8)
    assert distributions(space) == {
        "layer1:kept": IntDistribution(8, 24, step=8),
        "layer1:criterion": CategoricalDistribution(("l1", "l2")),
    }


@pytest.mark.parametrize("values", [{}, {"layer0:kept": 9}, {"layer0:kept": 4, "layer9:kept": 1}, {"layer0:kept": "4"}])
def test_values_outside_the_space_are_refused(values):
    with pytest.raises(InputError):
        check_values(values, SearchSpace(analytic_graph(8)))


@given(st.integers(0, 10_000), st.sampled_from([1, 4, 8]))
def test_what_is_drawn_lies_in_the_space(seed, multiple):
    space = SearchSpace(analytic_graph(8, 20, 33), criteria=("l1", "l2"), channel_multiple=multiple)
    values = draw(space, random.Random(seed))
    assert check_values(values, space) == values
    assert draw(space, random.Random(seed)) == values


def test_starting_points_are_distinct_and_lie_in_the_space():
    space = SearchSpace(analytic_graph(16, 32), channel_multiple=8)
    points = starting_points(Known(space))
    assert [str(p.origin) for p in points] == ["dense", "uniform 0.5", "uniform 0.25", "uniform 0.75", "uniform 0.125"]
    kept = [tuple(choice.kept for choice in p.policy.choices.values()) for p in points]
    assert kept == [(16, 32), (8, 16), (8, 24), (8, 8), (16, 24)]


def test_a_fine_space_has_the_whole_ladder():
    sparsities = [p.policy.choices["layer0"].sparsity for p in starting_points(Known(SearchSpace(analytic_graph(64))))]
    assert sparsities == [0, 0.5, 0.25, 0.75, 0.125, 0.375, 0.625, 0.875]


def test_samplers_are_seeded_by_how_far_the_run_is():
    assert set(SAMPLERS) == {"tpe", "nsga2", "random"}
    assert derived_seed(3, 0) == 3
    assert len({derived_seed(seed, finished) for seed in range(4) for finished in range(100)}) == 400
    assert isinstance(make_sampler("tpe", base_seed=1, finished=5), optuna.samplers.TPESampler)


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), max_size=12), st.randoms(use_true_random=False))
def test_the_running_front_is_the_front_in_whatever_order_trials_end(points, shuffler):
    policy = Policy.dense(analytic_graph(8))
    configurations = [
        Configuration(i, policy, Evaluation(dict(zip(NAMES, p, strict=True)), "roofline", 0.0))
        for i, p in enumerate(points)
    ]
    constraints = (Constraint.parse("size_bytes<=2"),)
    front = RunningFront(OBJECTIVES, constraints)
    shuffled = list(configurations)
    shuffler.shuffle(shuffled)
    dropped = [number for c in shuffled for number in front.add(c)]
    expected = Front.of(configurations, objectives=OBJECTIVES, dense={}, constraints=constraints)
    members = {c.trial for c in expected.configurations}
    assert {c.trial for c in configurations if c.trial in front} == members
    assert sorted(dropped) == sorted({c.trial for c in configurations} - members)


def event(name, time):
    return {"event": name, "time": time}


def test_the_clock_of_a_run_leaves_out_the_time_between_searches():
    events = [event("started", 100.0), event("trial finished", 130.0), event("resumed", 1000.0)]
    assert searched_seconds(events) == 30.0
    assert searched_seconds([*events, event("trial finished", 1005.0), event("finished", 1006.0)]) == 36.0
    assert searched_seconds([]) == 0.0


def test_a_signal_waits_until_stopping_loses_nothing(request):
    # A shell that runs the tests in the background has them ignore this signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    with Interrupts() as interrupts:
        with interrupts.interruptible():
            pass
        signal.raise_signal(signal.SIGINT)
        written = "whole"
        with pytest.raises(KeyboardInterrupt), interrupts.interruptible():
            written = "half"
    assert written == "whole"
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(("seconds", "text"), [(None, "-"), (0, "0:00"), (65.4, "1:05"), (3723, "1:02:03")])
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_the_live_table_shows_the_last_state():
    stream = io.StringIO()
    progress = RichProgress(Console(file=stream, force_terminal=True, width=120))
    for done in (1, 2, 3):
        progress.update(lambda done=done: Snapshot(done, 1, 9, 2, 4, 0.512345, 0.98, 61.0, 120.0))
    progress.message("trial 3 failed")
    progress.stop()
    shown = stream.getvalue()
    assert "3/9" in shown
    assert "0.5123" in shown
    assert "trial 3 failed" in shown
    assert "2:00" in shown
