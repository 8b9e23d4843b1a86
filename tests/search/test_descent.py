"""The path of shrinking networks, and what candidates take over along it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest

from espalier.search.descent import Level, Probe, descent
from espalier.search.effort import LEAST_SAMPLES, PATH_SHARE, Effort
from espalier.search.shrinking_path import EVEN_SHARE, ShrinkingPath
from espalier.spaces.policy import Policy
from espalier.spaces.search_space import SearchSpace
from espalier.testing.analytic import analytic_graph

WIDTHS = (64, 64)


def space() -> SearchSpace:
    return SearchSpace(analytic_graph(*WIDTHS), channel_multiple=8)


def kept(policy: Policy) -> tuple[int, ...]:
    return tuple(choice.kept for choice in policy.choices.values())


def prober(cost, loss):
    return lambda policies: [Probe(cost(*kept(p)), loss(*kept(p))) for p in policies]


def never() -> bool:
    return False


def test_the_group_that_loses_less_goes_first():
    # Both groups save alike; the first costs ten times the loss.
    probe = prober(lambda a, b: a * b, lambda a, b: 10 * (64 - a) + (64 - b))
    path = [kept(level.policy) for level in descent(space(), probe, levels=4, enough=never)]
    assert path[0][0] == 64
    assert path[0][1] < 64


def test_every_network_keeps_less_than_the_one_before():
    probe = prober(lambda a, b: a + 2 * b, lambda a, b: (64 - a) ** 2 + (64 - b) ** 2)
    path = [kept(level.policy) for level in descent(space(), probe, levels=6, enough=never)]
    assert len(path) > 2
    assert all(a >= c and b >= d and (a, b) != (c, d) for (a, b), (c, d) in itertools.pairwise(path))


def test_widths_that_gain_nothing_are_no_steps():
    # A device that computes 32 channels at a time: 40 and 64 cost the same, so do 8 and 32.
    stairs = prober(lambda a, b: math.ceil(a / 32) + math.ceil(b / 32), lambda a, b: 128 - a - b)
    path = {width for level in descent(space(), stairs, levels=8, enough=never) for width in kept(level.policy)}
    assert path <= {32, 64}


def test_nothing_to_gain_is_no_path():
    assert descent(space(), prober(lambda a, b: 5.0, lambda a, b: 0.0), levels=4, enough=never) == ()


def test_a_bound_is_passed_early():
    probe = prober(lambda a, b: a * b, lambda a, b: (64 - a) + (64 - b))
    share = 0.3
    path = [kept(level.policy) for level in descent(space(), probe, levels=4, share=share, enough=never)]
    above = [p for p in path if p[0] * p[1] > share * 64 * 64]
    assert len(above) <= 1
    assert len(path) - len(above) >= 3


def test_without_time_each_group_is_tried_once():
    tried = []

    def probe(policies: Sequence[Policy]) -> list[Probe]:
        tried.extend(kept(policy) for policy in policies)
        return [Probe(float(sum(kept(policy))), 0.0) for policy in policies]

    descent(space(), probe, levels=4, enough=lambda: True)
    assert tried == [(64, 64), (32, 64), (64, 32)]


def test_time_is_shared_by_what_there_is_to_mend():
    big, small = (Policy.uniform(analytic_graph(*WIDTHS), sparsity) for sparsity in (0.25, 0.75))
    path = ShrinkingPath((Level(big, 0.5, 0.1), Level(small, 0.2, 0.4)), 100.0)
    even = EVEN_SHARE / 2
    assert path.shares == pytest.approx({big: even + (1 - EVEN_SHARE) / 4, small: even + (1 - EVEN_SHARE) * 3 / 4})
    effort = Effort(1000, timed=True, rate=100.0, shares={big: 0.25, small: 0.75})
    assert effort.on_path(big, [small], 400.0) == int(100 * PATH_SHARE * 100)
    effort.learn(9000, 100.0, {"train": 8.0, "cost": 2.0})  # 80 of 100 seconds were training
    assert effort.rate == pytest.approx(9000 / 80)
    assert effort.on_path(small, [], 300.0) == int(9000 / 80 * (PATH_SHARE * 300 - 20))


def test_without_a_budget_every_candidate_gets_the_same():
    policy = Policy.uniform(analytic_graph(*WIDTHS), 0.5)
    effort = Effort(1000, timed=False, rate=100.0, shares={policy: 1.0})
    assert effort.on_path(policy, [], None) == effort.off_path(None) == 1000


def test_the_last_candidate_gets_what_time_is_left():
    effort = Effort(12_800, timed=True, rate=1000.0)
    assert effort.off_path(3.0) == 3000
    assert effort.off_path(100.0) == 12_800
    assert effort.off_path(0.0) == LEAST_SAMPLES
