"""The search space: parameters to policies and back."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.errors import InputError, UnknownNameError
from espalier.spaces import Graph, Group, Policy, SearchSpace

GRAPH = Graph(
    (Group("a", 16, (), "exact", 0), Group("b", 10, (), "exact", 1), Group("c", 4, (), "exact", 1)), (), "f00d"
)


def _all_values(space: SearchSpace):
    ranges = [p.choices if p.kind == "categorical" else range(p.low, p.high + 1, p.step) for p in space.parameters]
    for values in itertools.product(*ranges):
        yield dict(zip([p.name for p in space.parameters], values, strict=True))


@pytest.mark.parametrize(("multiple", "criteria"), [(8, ("l2",)), (8, ("l2", "taylor")), (4, ("l1", "l2", "fpgm"))])
def test_size_counts_the_different_policies(multiple, criteria):
    space = SearchSpace(GRAPH, criteria=criteria, channel_multiple=multiple)
    assert space.size == len({space.policy(values) for values in _all_values(space)})


def test_every_kept_width_suits_the_device_and_groups_too_narrow_stay_whole():
    space = SearchSpace(GRAPH, channel_multiple=8)
    kept = {
        (p.choices["a"].kept, p.choices["b"].kept, p.choices["c"].kept) for p in map(space.policy, _all_values(space))
    }
    assert kept == {(8, 8, 4), (8, 10, 4), (16, 8, 4), (16, 10, 4)}


@given(st.data())
def test_values_and_policy_are_inverse(data):
    space = SearchSpace(GRAPH, criteria=("l2", "taylor"), channel_multiple=data.draw(st.sampled_from([1, 2, 4, 8])))
    values = {
        p.name: data.draw(st.sampled_from(p.choices if p.kind == "categorical" else range(p.low, p.high + 1, p.step)))
        for p in space.parameters
    }
    policy = space.policy(values)
    assert space.policy(space.values(policy)) == policy


def test_foreign_widths_move_to_the_nearest():
    space = SearchSpace(GRAPH, channel_multiple=8)
    assert space.values(Policy.from_kept(GRAPH, {"a": 3, "b": 9}))["a:kept"] == 8


@pytest.mark.parametrize("values", [{}, {"a:kept": 9, "b:kept": 8}, {"a:kept": 8, "b:kept": 24}])
def test_values_outside_the_space_are_refused(values):
    with pytest.raises(InputError, match="expected a value of"):
        SearchSpace(GRAPH, channel_multiple=8).policy(values)


def test_unknown_types_and_criteria_suggest_near_names():
    with pytest.raises(UnknownNameError, match="'channel'"):
        SearchSpace(GRAPH, types=("chanel",))
    with pytest.raises(UnknownNameError, match="'taylor'"):
        SearchSpace(GRAPH, criteria=("tailor",))


def test_only_none_leaves_one_policy():
    space = SearchSpace(GRAPH, types=("none",))
    assert space.size == 1
    assert space.policy({}) == Policy.dense(GRAPH)
