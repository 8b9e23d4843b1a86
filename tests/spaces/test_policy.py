"""Policies as plain values."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.errors import InputError, UnknownNameError
from espalier.spaces import Choice, Graph, Group, Policy

GRAPH = Graph((Group("a", 16, (), "exact", 0), Group("b", 10, (), "exact", 1)), (), "f00d")


@pytest.mark.parametrize(
    ("multiple", "a", "b"),
    [
        (1, tuple(range(1, 17)), tuple(range(1, 11))),
        (4, (4, 8, 12, 16), (4, 8, 10)),
        (8, (8, 16), (8, 10)),
        (16, (16,), (10,)),
    ],
)
def test_widths_are_multiples_and_all_channels(multiple, a, b):
    assert GRAPH.group("a").widths(multiple) == a
    assert GRAPH.group("b").widths(multiple) == b


def test_uniform_keeps_the_nearest_width_that_the_device_allows():
    policy = Policy.uniform(GRAPH, 0.5, channel_multiple=4)
    assert {n: c.kept for n, c in policy.choices.items()} == {"a": 8, "b": 4}
    assert policy.choices["a"].sparsity == 0.5


def test_keeping_everything_is_the_dense_policy_whatever_the_criterion():
    assert Policy.uniform(GRAPH, 0.0, criterion="taylor") == Policy.dense(GRAPH)
    assert Choice.channel(kept=16, of=16, criterion="l1") == Choice.keep_all(16)


def test_two_sparsities_that_keep_the_same_counts_are_the_same_policy():
    first, second = (Policy.uniform(GRAPH, s, channel_multiple=8) for s in (0.4, 0.55))
    assert first == second
    assert hash(first) == hash(second)
    assert first != Policy.uniform(GRAPH, 0.4, criterion="l1", channel_multiple=8)


@given(st.integers(1, 16), st.integers(1, 10), st.sampled_from(["l1", "taylor"]))
def test_json_round_trip(a, b, criterion):
    policy = Policy.from_kept(GRAPH, {"a": a, "b": b}, criterion=criterion)
    assert Policy.from_json(policy.to_json()) == policy
    assert Policy.from_json(json.loads(policy.to_json())) == policy


def test_the_stored_form_is_the_documented_one():
    stored = json.loads(Policy.from_kept(GRAPH, {"a": 8}).to_json())
    assert stored == {
        "version": 1,
        "model_fingerprint": "f00d",
        "precision": "fp32",
        "choices": {
            "a": {"type": "channel", "criterion": "l2", "sparsity": 0.5, "kept": 8, "of": 16},
            "b": {"type": "none", "criterion": None, "sparsity": 0.0, "kept": 10, "of": 10},
        },
    }


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"version": 2}',
        '{"version": 1}',
        '{"version": 1, "model_fingerprint": "x", "precision": "fp32", "choices": 3}',
    ],
)
def test_a_torn_or_foreign_policy_is_refused(text):
    with pytest.raises(InputError):
        Policy.from_json(text)


def test_unknown_groups_and_impossible_sparsities_are_refused():
    with pytest.raises(UnknownNameError, match="unknown group 'c'"):
        Policy.from_kept(GRAPH, {"c": 3})
    with pytest.raises(ValueError, match=r"sparsity 1.0; expected a number in \[0, 1\)"):
        Policy.uniform(GRAPH, 1.0)
    with pytest.raises(InputError, match="kept 0 of 16"):
        Choice(type="channel", criterion="l2", kept=0, of=16)
