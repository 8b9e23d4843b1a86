"""Fronts, picks and scaled hypervolumes against hand-computed values."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.errors import InputError, UnknownNameError
from espalier.evaluators.configuration import Configuration
from espalier.evaluators.evaluation import Evaluation
from espalier.evaluators.front import PICKS, Front, knee
from espalier.evaluators.objectives import Constraint, objectives
from espalier.spaces.policy import Policy

OBJECTIVES = objectives("accuracy,latency,size")
DENSE = {"accuracy": 0.9, "latency_ms": 10.0, "size_bytes": 1000.0}


def configuration(
    trial: int, accuracy: float | None, latency: float | None, size: float, **more: float
) -> Configuration:
    metrics = {"accuracy": accuracy, "latency_ms": latency, "size_bytes": size, **more}
    return Configuration(trial, Policy("f", {}), Evaluation(metrics, "measured", 0.05, 100))


def front(*members: Configuration, constraints: tuple[str, ...] = (), names: str = "accuracy,latency,size") -> Front:
    parsed = tuple(Constraint.parse(text) for text in constraints)
    return Front.of(members, objectives=objectives(names), dense=DENSE, constraints=parsed)


FAST = configuration(1, 0.60, 2.0, 400)
MIDDLE = configuration(2, 0.84, 4.0, 500)
GOOD = configuration(3, 0.88, 8.0, 900)
SMALL = configuration(4, 0.70, 6.0, 200)
BEATEN = configuration(5, 0.80, 4.5, 600)


def trials(of: Front) -> list[int]:
    return [c.trial for c in of.configurations]


def test_members_stand_in_the_order_of_their_latency() -> None:
    assert trials(front(GOOD, BEATEN, SMALL, FAST, MIDDLE)) == [1, 2, 4, 3]


def test_what_misses_a_constraint_or_lacks_an_objective_is_left_out() -> None:
    unknown = configuration(6, None, 1.0, 100)
    not_finite = configuration(7, 0.99, float("nan"), 100)
    assert trials(front(GOOD, FAST, MIDDLE, unknown, not_finite, constraints=("accuracy>=0.8",))) == [2, 3]


def test_a_metric_that_is_no_objective_may_be_unknown() -> None:
    assert trials(front(configuration(1, 0.5, None, 100), names="accuracy,size")) == [1]


def test_picks_by_hand() -> None:
    found = front(FAST, MIDDLE, GOOD, SMALL)
    # Scaled to [0, 1] over the front the sums are: FAST 1 + 0 + 2/7, MIDDLE 1/7 + 1/3 + 3/7, GOOD 0 + 1 + 1,
    # SMALL 9/14 + 2/3 + 0; MIDDLE's 0.90 is the least.
    assert {name: found.pick(name).trial for name in PICKS} == {
        "knee": 2,
        "fastest": 1,
        "smallest": 4,
        "most-accurate": 3,
    }
    assert found.pick(4).trial == found.pick("4").trial == 4


def test_ties_go_to_the_better_in_the_other_objectives() -> None:
    slower = configuration(8, 0.85, 2.0, 300)
    found = front(configuration(7, 0.80, 2.0, 200), slower)
    assert found.pick("fastest").trial == 8
    assert found.pick("most-accurate").trial == 8


def test_one_member_is_every_pick() -> None:
    assert front(MIDDLE).configurations[0].tags == ("knee", "fastest", "smallest", "most-accurate")


def test_an_objective_that_does_not_vary_has_no_say_in_the_knee() -> None:
    assert knee([(0.0, 5.0, 1.0), (0.2, 5.0, 0.2), (1.0, 5.0, 0.0)]) == 1


def test_picks_that_do_not_exist_are_named() -> None:
    with pytest.raises(InputError, match="the front is empty"):
        front().pick("knee")
    with pytest.raises(InputError, match="trial 5 is not on the front; expected one of 1, 2"):
        front(FAST, MIDDLE, BEATEN).pick(5)
    with pytest.raises(UnknownNameError, match="Did you mean 'fastest'"):
        front(FAST).pick("fastst")


def test_within_takes_the_picks_anew() -> None:
    bounded = front(FAST, MIDDLE, GOOD, SMALL).within((Constraint.parse("latency<=5"),))
    assert trials(bounded) == [1, 2]
    assert bounded.pick("smallest").trial == 1
    assert bounded.pick("most-accurate").trial == 2


def test_reference_point_and_hypervolume_by_hand() -> None:
    found = front(configuration(1, 0.9, 5.0, 500), configuration(2, 0.675, 2.5, 500))
    assert found.reference_point == {"accuracy": 0.45, "latency_ms": 10.0, "size_bytes": 1000.0}
    # As fractions: (accuracy 1, latency saved 0.5, size saved 0.5) and (0.5, 0.75, 0.5); they share (0.5, 0.5, 0.5).
    assert found.hypervolume == pytest.approx(0.25 + 0.1875 - 0.125)


def test_dense_accuracy_at_no_cost_is_one() -> None:
    assert front(configuration(1, 0.9, 1e-12, 1e-9)).hypervolume == pytest.approx(1.0)


def test_what_is_worse_than_the_reference_adds_nothing() -> None:
    assert front(configuration(1, 0.44, 1.0, 100)).hypervolume == 0.0
    assert front(configuration(1, 0.95, 10.0, 100)).hypervolume == 0.0


def test_a_score_below_zero_counts_upwards_too() -> None:
    dense = {"accuracy": -0.4, "latency_ms": 10.0}
    names = objectives("accuracy,latency")
    better, worse = (
        Front.of([configuration(1, score, 5.0, 1)], objectives=names, dense=dense) for score in (-0.3, -0.55)
    )
    assert better.reference_point == {"accuracy": pytest.approx(-0.6), "latency_ms": 10.0}
    # From -0.6 upwards in units of 0.2: 1.5 and 0.25, over half of the latency.
    assert better.hypervolume == pytest.approx(0.75)
    assert worse.hypervolume == pytest.approx(0.125)


def test_an_unknown_dense_metric_gives_no_hypervolume() -> None:
    unknown = Front.of([FAST], objectives=OBJECTIVES, dense={**DENSE, "latency_ms": None})
    assert unknown.hypervolume == 0.0


_members = st.lists(
    st.tuples(st.integers(0, 10), st.integers(1, 12), st.integers(1, 12)).map(lambda t: (t[0] / 10, t[1], t[2] * 100)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=50)
@given(members=_members, data=st.data())
def test_order_and_dominated_members_change_no_number(
    members: list[tuple[float, int, int]], data: st.DataObject
) -> None:
    made = [configuration(i, *values) for i, values in enumerate(members)]
    accuracy, latency, size = members[0]
    beaten = configuration(99, accuracy, latency + 1, size)
    shuffled = data.draw(st.permutations([*made, beaten]))
    one, other = front(*made), front(*shuffled)
    numbers = [[dict(c.metrics) for c in of.configurations] for of in (one, other)]
    assert numbers[0] == numbers[1]
    assert one.hypervolume == pytest.approx(other.hypervolume)
    assert 99 not in trials(other)


@settings(max_examples=50)
@given(members=_members)
def test_picks_are_the_extremes(members: list[tuple[float, int, int]]) -> None:
    found = front(*(configuration(i, *values) for i, values in enumerate(members)))
    assert found.pick("fastest").metrics["latency_ms"] == min(latency for _, latency, _ in members)
    assert found.pick("smallest").metrics["size_bytes"] == min(size for _, _, size in members)
    assert found.pick("most-accurate").metrics["accuracy"] == max(accuracy for accuracy, _, _ in members)
