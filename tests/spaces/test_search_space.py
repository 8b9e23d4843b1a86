"""The search space: parameters to policies and back."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.errors import InputError, UnknownNameError
from espalier.spaces import Choice, Graph, Group, Policy, SearchSpace
from espalier.spaces.graph.groups import Weight

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


def _weighted(name: str, channels: int, inputs: int) -> Group:
    weight = Weight(f"{name}.weight", 0, tuple(range(channels)), (channels, inputs, 1, 1))
    return Group(name, channels, (), "exact", 0, weights=(weight,))


# The third has no weight to zero; the second reads too few channels for blocks of eight.
WEIGHTED = Graph((_weighted("a", 16, 8), _weighted("b", 8, 4), Group("c", 24, (), "exact", 1)), (), "f00d")


@pytest.mark.parametrize("types", [("nm",), ("weight",), ("channel", "nm"), ("weight", "channel"), ("none", "nm")])
@pytest.mark.parametrize("criteria", [("l2",), ("l2", "l1", "taylor")])
def test_size_counts_the_different_policies_of_several_types(types, criteria):
    graph = Graph(WEIGHTED.groups[:2], (), "f00d")
    space = SearchSpace(graph, types=types, criteria=criteria, channel_multiple=8)
    assert space.size == len({space.policy(values) for values in _all_values(space)})


@given(st.data())
def test_values_and_policy_are_inverse_for_several_types(data):
    types = data.draw(st.lists(st.sampled_from(["channel", "nm", "weight"]), min_size=1, unique=True))
    criteria = data.draw(st.lists(st.sampled_from(["l1", "l2", "taylor", "random"]), min_size=1, unique=True))
    space = SearchSpace(
        WEIGHTED, types=types, criteria=criteria, channel_multiple=data.draw(st.sampled_from([1, 4, 8]))
    )
    values = {
        p.name: data.draw(st.sampled_from(p.choices if p.kind == "categorical" else range(p.low, p.high + 1, p.step)))
        for p in space.parameters
    }
    policy = space.policy(values)
    assert space.policy(space.values(policy)) == policy
    assert Policy.from_json(policy.to_json()) == policy


def test_the_parameters_are_the_same_whatever_their_values():
    space = SearchSpace(WEIGHTED, types=("channel", "nm", "weight"), channel_multiple=8)
    assert [p.name for p in space.parameters] == ["a:type", "a:kept", "a:nm", "a:weight", "b:type", "b:nm", "b:weight",
                                                  "c:kept"]  # fmt: skip
    policies = (Policy.dense(WEIGHTED), space.uniform("nm", 0), space.uniform("weight", 9), space.uniform("channel", 0))
    for policy in policies:
        assert list(space.values(policy)) == [p.name for p in space.parameters]
        assert space.policy(space.values(policy)) == policy


def test_patterns_of_one_sparsity_are_different_policies():
    kept = [Policy.of(WEIGHTED, {"a": Choice("nm", "l1", kept=n, of=m)}) for n, m in ((2, 4), (2, 8), (4, 8))]
    assert len(set(kept)) == 3
    assert [p.choices["a"].sparsity for p in kept] == [0.5, 0.75, 0.5]


def test_foreign_amounts_move_to_the_nearest_and_foreign_types_leave_a_group_whole():
    space = SearchSpace(WEIGHTED, types=("nm", "weight"))
    near = Policy.of(WEIGHTED, {"a": Choice("nm", "l1", kept=3, of=4), "b": Choice("weight", "l2", kept=7, of=32)})
    found = space.policy(space.values(near)).choices
    assert (found["a"].kept, found["a"].of) == (2, 4)
    assert (found["b"].kept, found["b"].of, found["b"].criterion) == (8, 32, "l1")
    assert space.policy(space.values(Policy.uniform(WEIGHTED, 0.5))) == Policy.dense(WEIGHTED)
