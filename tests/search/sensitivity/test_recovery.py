"""How much of a loss training mends, and what the path of shrinking networks makes of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from espalier.search.budget.timer import Timer
from espalier.search.options import SearchOptions
from espalier.search.sensitivity.nested_levels import nested_levels
from espalier.search.sensitivity.nested_path import find_nested_path
from espalier.search.sensitivity.recovery import (
    LEAST_MENDED,
    LEAST_SAMPLES,
    MOST_SAMPLES,
    Recovery,
    loss_after_recovery,
)
from espalier.search.sensitivity.table import Probe, SensitivityTable
from espalier.spaces.graph.trace import trace
from espalier.spaces.policy import Policy
from espalier.spaces.search_space import SearchSpace
from espalier.testing.analytic import AnalyticEvaluator, analytic_graph, analytic_problem


def space() -> SearchSpace:
    return SearchSpace(analytic_graph(64, 64), channel_multiple=32)


def widths(*each: int) -> Policy:
    graph = analytic_graph(64, 64)
    return Policy.from_kept(graph, dict(zip((group.name for group in graph), each, strict=True)))


def kept(policy: Policy) -> tuple[int, ...]:
    return tuple(choice.kept for choice in policy.choices.values())


def walked(space, probe, *, levels, enough, share=1.0, recovery=None):
    table = SensitivityTable.probed(space, probe, enough=enough, recovery=recovery)
    return nested_levels(space, table, levels=levels, share=share)


def test_a_rise_that_halves_in_a_thousand_samples_is_a_quarter_after_three():
    assert loss_after_recovery(1.0, 0.5, 1000, 1000) == pytest.approx(0.5)
    assert loss_after_recovery(1.0, 0.5, 1000, 3000) == pytest.approx(0.25)
    assert loss_after_recovery(4.0, 1.0, 2000, 2000) == pytest.approx(1.0)


def test_what_does_not_mend_lasts():
    half_time = 1000 / (LEAST_MENDED - 1)
    assert (
        loss_after_recovery(1.0, 1.0, 1000, 1000)
        == loss_after_recovery(1.0, 3.0, 1000, 1000)
        == pytest.approx(1 / (1 + 1000 / half_time))
    )


def test_no_rise_before_training_leaves_what_came_after():
    assert loss_after_recovery(0.0, 0.2, 1000, 1000) == 0.2
    assert loss_after_recovery(0.0, -0.2, 1000, 1000) == 0.0
    assert loss_after_recovery(1.0, -0.1, 1000, 1000) < 1e-6


def test_the_samples_are_shared_and_the_dense_network_is_trained_alike():
    asked = []

    def trained(policy: Policy, samples: int) -> float:
        asked.append((kept(policy), samples))
        losses: dict[tuple[int, ...], float] = {(64, 64): 0.5, (32, 64): 0.75, (64, 32): 1.0}
        return losses[kept(policy)]

    dense, *others = (widths(64, 64), widths(32, 64), widths(64, 32))
    found = Recovery(trained, 6000, 2000).of(dense, others, [0.5, 1.0])
    assert asked == [((64, 64), 2000), ((32, 64), 2000), ((64, 32), 2000)]
    assert found == pytest.approx((0.25, 0.5))  # each half-mended after 2,000 samples, and told for 2,000


def test_only_as_many_are_trained_as_can_be_for_long_enough():
    assert Recovery(lambda policy, samples: 0.0, 3 * LEAST_SAMPLES, 1000).most == 2
    assert Recovery(lambda policy, samples: 0.0, 3 * LEAST_SAMPLES - 1, 1000).most == 1


def test_too_little_training_tells_nothing_and_is_not_spent():
    asked = []
    loss = Recovery(lambda policy, samples: asked.append(samples) or 0.0, 2 * LEAST_SAMPLES, 1000)
    with_it = walked(space(), probe, levels=2, enough=lambda: False, recovery=loss)
    assert with_it == walked(space(), probe, levels=2, enough=lambda: False)
    assert asked == []


def test_nothing_to_gain_trains_nothing():
    asked = []
    told = Recovery(lambda policy, samples: asked.append(samples) or 0.0, 100_000, 1000)
    flat = walked(space(), lambda ps: [Probe(1.0, 0.0) for _ in ps], levels=2, enough=lambda: False, recovery=told)
    assert flat == ()
    assert asked == []


def test_those_that_save_most_tell_for_the_rest():
    graph = analytic_graph(64, 64, 64, 64)
    wide = SearchSpace(graph, channel_multiple=32)
    asked = []

    def costs(policies):
        return [Probe(sum((4 - i) * k for i, k in enumerate(kept(p))), sum(64 - k for k in kept(p))) for p in policies]

    def trained(policy: Policy, samples: int) -> float:
        asked.append(kept(policy))
        return 0.0

    walked(wide, costs, levels=4, enough=lambda: False, recovery=Recovery(trained, 4 * LEAST_SAMPLES, 1000))
    assert asked == [(64, 64, 64, 64), (32, 64, 64, 64), (64, 32, 64, 64), (64, 64, 32, 64)]


def test_nobody_is_trained_longer_than_tells():
    asked = []
    loss = Recovery(lambda policy, samples: asked.append(samples) or 0.0, 100 * MOST_SAMPLES, 1000)
    loss.of(Policy.dense(analytic_graph(64, 64)), [], [])
    assert asked == [MOST_SAMPLES]


def probe(policies):
    # Both save alike; right after the cut the first group looks three times as bad.
    return [Probe(float(sum(kept(p))), (3.0 if kept(p)[0] < 64 else 0.0) + (kept(p)[1] < 64)) for p in policies]


def test_the_path_begins_with_what_mends():
    def trained(policy: Policy, samples: int) -> float:
        losses: dict[tuple[int, ...], float] = {(64, 64): 0.0, (32, 64): 0.01, (64, 32): 0.9}
        return losses[kept(policy)]

    told = Recovery(trained, 20_000, 20_000)
    by_first_sight = walked(space(), probe, levels=2, enough=lambda: False)
    by_what_lasts = walked(space(), probe, levels=2, enough=lambda: False, recovery=told)
    assert [kept(level.policy) for level in by_first_sight] == [(64, 32), (32, 32)]
    assert [kept(level.policy) for level in by_what_lasts] == [(32, 64), (32, 32)]


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, padding=1)
        self.inner = nn.Conv2d(32, 32, 3, padding=1)
        self.outer = nn.Conv2d(32, 32, 3, padding=1)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = x + self.outer(torch.relu(self.inner(x)))
        return self.head(x.mean((2, 3)))


def test_a_branch_that_mends_goes_at_once_and_not_width_by_width():
    graph = trace(Residual().eval(), torch.zeros(1, 3, 8, 8))
    both = SearchSpace(graph, types=("channel", "block"), channel_multiple=8)

    def drops(policy: Policy) -> bool:
        return any(choice.type == "block" for choice in policy.choices.values())

    def share(policy: Policy) -> float:
        return 0.5 if drops(policy) else 0.9 + 0.1 * sum(kept(policy)) / sum(kept(Policy.dense(graph)))

    def probes(policies):
        return [Probe(share(p), 5.0 if drops(p) else 1.0 - share(p)) for p in policies]

    told = Recovery(lambda p, samples: 0.0 if drops(p) else 1.0 - share(p), 100_000, 20_000)
    path = walked(both, probes, levels=4, enough=lambda: False, recovery=told)
    assert drops(path[0].policy)
    assert not drops(walked(both, probes, levels=4, enough=lambda: False)[0].policy)


def test_where_no_branch_can_go_nothing_is_trained_to_tell(tmp_path, monkeypatch):
    monkeypatch.setattr(AnalyticEvaluator, "trained_loss", lambda *_: pytest.fail("trained to tell"))
    problem = analytic_problem(16, 16, 32)
    options = SearchOptions(task="analytic", objectives="accuracy,macs", trials=300, threads=1)
    evaluator = problem.factory()
    dense = evaluator.dense().metrics
    path = find_nested_path(tmp_path, problem.space, evaluator, options, (), dense, LEAST_SAMPLES, Timer.start())
    assert path.levels
