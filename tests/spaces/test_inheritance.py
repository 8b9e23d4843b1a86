"""Weights taken over from a larger network that was fine-tuned."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from espalier.errors import InputError
from espalier.spaces.apply import prune
from espalier.spaces.graph.trace import trace
from espalier.spaces.importance.rankings import rank
from espalier.spaces.inheritance import may_inherit, with_inherited
from espalier.spaces.policy import Choice, Policy


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.inner = nn.Conv2d(8, 16, 3, padding=1)
        self.outer = nn.Conv2d(16, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = x + self.outer(torch.relu(self.inner(x)))
        return self.head(x.mean((2, 3)))


@pytest.fixture(scope="module")
def traced():
    torch.manual_seed(0)
    model = Residual().eval()
    graph = trace(model, torch.zeros(1, 3, 8, 8))
    return model, graph, rank(model, graph, ("l1", "l2"))


def trained(network: nn.Module) -> nn.Module:
    """Return the network with other weights and statistics, as training leaves it."""
    found = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(1)
    for tensor in [*found.parameters(), *(b for b in found.buffers() if b.is_floating_point())]:
        tensor.data.add_(0.1 * torch.rand(tensor.shape, generator=generator))
    return found


def test_the_ancestors_own_policy_gives_the_ancestor_again(traced):
    model, graph, rankings = traced
    policy = Policy.uniform(graph, 0.25)
    ancestor = trained(prune(model, graph, policy, rankings=rankings))
    whole = with_inherited(model, graph, policy, ancestor.state_dict(), rankings=rankings)
    again = prune(whole, graph, policy, rankings=rankings)
    assert all(torch.equal(tensor, ancestor.state_dict()[name]) for name, tensor in again.state_dict().items())


def test_an_heir_is_the_ancestor_without_what_the_heir_lacks(traced):
    model, graph, rankings = traced
    larger, smaller = Policy.uniform(graph, 0.25), Policy.uniform(graph, 0.5)
    ancestor = trained(prune(model, graph, larger, rankings=rankings))
    whole = with_inherited(model, graph, larger, ancestor.state_dict(), rankings=rankings)
    heir = prune(whole, graph, smaller, rankings=rankings)
    order = rankings.of("l2", "inner")
    among = sorted(order[:12])
    kept = [among.index(channel) for channel in sorted(order[:8])]
    assert torch.equal(heir.inner.bias, ancestor.inner.bias[kept])


def test_the_dense_network_is_left_as_it_was(traced):
    model, graph, rankings = traced
    before = copy.deepcopy(model.state_dict())
    policy = Policy.uniform(graph, 0.5)
    ancestor = trained(prune(model, graph, policy, rankings=rankings))
    with_inherited(model, graph, policy, ancestor.state_dict(), rankings=rankings)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("parent", "child", "expected"),
    [
        ({"inner": 12}, {"inner": 8}, True),
        ({"inner": 8}, {"inner": 12}, False),
        ({}, {"inner": 8}, True),
        ({"inner": 8}, {}, False),
        ({"inner": 12, "stem": 8}, {"inner": 12, "stem": 4}, True),
        ({"inner": 12, "stem": 4}, {"inner": 8, "stem": 8}, False),
    ],
)
def test_only_what_keeps_less_everywhere_inherits(traced, parent, child, expected):
    _, graph, rankings = traced
    made = [Policy.from_kept(graph, kept) for kept in (child, parent)]
    assert may_inherit(graph, *made, rankings) is expected


def test_another_criterion_inherits_only_if_it_keeps_the_same_channels(traced):
    _, graph, rankings = traced
    parent = Policy.from_kept(graph, {"inner": 12}, criterion="l1")
    child = Policy.from_kept(graph, {"inner": 8}, criterion="l2")
    nested = set(rankings.of("l2", "inner")[:8]) <= set(rankings.of("l1", "inner")[:12])
    assert may_inherit(graph, child, parent, rankings) is nested


def test_precision_does_not_matter_and_zeroed_weights_must_be_the_same(traced):
    _, graph, rankings = traced
    zeroed = Policy.of(graph, {"inner": Choice("nm", "l1", 2, 4)})
    assert may_inherit(graph, Policy.of(graph, zeroed.choices, precision="int8"), zeroed, rankings)
    assert not may_inherit(graph, Policy.of(graph, {"inner": Choice("nm", "l1", 1, 4)}), zeroed, rankings)
    assert not may_inherit(graph, Policy.dense(graph), zeroed, rankings)


def test_a_dropped_branch_stays_dropped_and_may_be_dropped_later(traced):
    _, graph, rankings = traced
    name = next(g.name for g in graph if g.branch is not None)
    dropped = Policy.of(graph, {name: Choice("block", None, 0, 1)})
    thinner = Policy.from_kept(graph, {name: 8})
    assert may_inherit(graph, dropped, thinner, rankings)
    assert not may_inherit(graph, thinner, dropped, rankings)


def test_weights_of_other_shapes_are_refused(traced):
    model, graph, rankings = traced
    small = prune(model, graph, Policy.uniform(graph, 0.5), rankings=rankings)
    with pytest.raises(InputError, match="what the policy leaves"):
        with_inherited(model, graph, Policy.uniform(graph, 0.25), small.state_dict(), rankings=rankings)
