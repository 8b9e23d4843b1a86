"""Networks that decide by values: all ways are followed, by more examples or other decisions, or it is said."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from espalier.errors import InputError
from espalier.spaces import Policy, prune, trace
from espalier.spaces.graph.output_shapes import OutputShapes

ZEROS = torch.zeros(1, 4)


class TwoWays(nn.Module):
    """Takes another way where ``decide`` says so."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 12), nn.Linear(12, 10), nn.Linear(10, 5)
        self.exit, self.gate = nn.Linear(12, 5), nn.Linear(12, 1)

    def late(self, h: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.second(h)))


class ByInput(TwoWays):
    def forward(self, x):
        h = F.relu(self.first(x))
        return self.exit(h) if x.abs().max() > 5 else self.late(h)


class ByEntropy(TwoWays):
    def __init__(self) -> None:
        super().__init__()
        del self.gate  # a number may decide more than two ways, and a layer that never runs may be on a third

    def forward(self, x):
        h = F.relu(self.first(x))
        early = self.exit(h)
        share = early.softmax(-1)
        return early if float(-(share * share.log()).sum(-1).mean().detach()) < 0.3 else self.late(h)


class Features(TwoWays):
    def forward(self, x):
        h = F.relu(self.first(x))
        return h if x.std(unbiased=False) > 5 else self.late(h)


def _reasons(graph) -> dict[str, str]:
    return {f.name: f.reason for f in graph.frozen}


def _names(graph) -> set[str]:
    return {g.name for g in graph.groups}


@pytest.mark.parametrize(
    ("build", "groups"),
    [(ByInput, {"first", "second"}), (ByEntropy, {"first", "second"}), (Features, {"second"})],
)
def test_one_example_is_enough_where_a_truth_value_decides(build, groups):
    torch.manual_seed(0)
    dense = build().eval()
    graph = trace(dense, ZEROS)
    assert _names(graph) == groups
    assert any("otherwise" in note for note in graph.notes)
    small = prune(dense, graph, Policy.uniform(graph, 0.5))
    ways = set()
    for scale in (0, 0.1, 1, 10, 1000):
        probe = scale * torch.randn(3, 4, generator=torch.Generator().manual_seed(2))
        if build is ByEntropy:  # which way is taken depends on the weights, too: each has five classes
            assert small(probe).shape == (3, 5)
        else:
            assert OutputShapes.of(dense(probe)).objection(small(probe)) is None
        ways.add(tuple(dense(probe).shape))
    assert len(ways) == (2 if build is Features else 1)


def test_what_a_decision_is_made_of_stays():
    class Halting(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.halt, self.head = nn.Linear(4, 16), nn.Linear(16, 6), nn.Linear(16, 5)

        def forward(self, x):
            x = torch.relu(self.first(x))
            if self.halt(x).abs().mean() > 1e6:
                x = x * 2
            return self.head(x)

    reasons = _reasons(trace(Halting().eval(), ZEROS))
    assert "decides by" in reasons["halt"]


def test_checks_for_finite_values_freeze_nothing():
    class Checking(TwoWays):
        def forward(self, x):
            h = F.relu(self.first(x))
            if torch.isnan(h).any() or not torch.isfinite(h).all():
                raise ValueError("not finite")
            return self.late(h)

    graph = trace(Checking().eval(), ZEROS)
    assert {g.name: g.verification for g in graph.groups} == {"first": "exact", "second": "exact"}


class Experts(nn.Module):
    """Of nine heads one is taken, by a number that comes in."""

    def __init__(self, count: int = 9) -> None:
        super().__init__()
        self.body = nn.Linear(4, 12)
        self.heads = nn.ModuleList(nn.Linear(12, 5) for _ in range(count))

    def forward(self, x, which):
        return self.heads[int(which)](F.relu(self.body(x)))


def test_layers_that_no_example_runs_freeze_what_they_may_read_until_examples_run_them():
    dense = Experts().eval()
    inputs = [(ZEROS, torch.tensor(i)) for i in range(9)]
    graph = trace(dense, inputs[0])
    assert not graph.groups
    assert "never ran" in _reasons(graph)["body"]
    assert any("heads.8" in note for note in graph.notes)
    graph = trace(dense, inputs)
    assert _names(graph) == {"body"}
    small = prune(dense, graph, Policy.uniform(graph, 0.5))
    assert all(small(*each).shape == (1, 5) for each in inputs)


def test_a_few_whole_numbers_are_tried():
    dense = Experts(3).eval()
    graph = trace(dense, [(ZEROS, torch.tensor(1)), (ZEROS, torch.tensor(2)), (ZEROS, torch.tensor(0))])
    assert _names(graph) == {"body"}


def test_examples_of_other_arguments_are_followed():
    class Optional(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.side, self.head = nn.Linear(4, 12), nn.Linear(3, 12), nn.Linear(12, 5)

        def forward(self, x, side=None):
            h = self.body(x)
            return self.head(F.relu(h if side is None else h + self.side(side)))

    alone, both = {"x": ZEROS}, {"x": ZEROS, "side": torch.zeros(1, 3)}
    dense = Optional().eval()
    assert any("side" in note for note in trace(dense, alone).notes)
    graph = trace(dense, [alone, both])
    assert any("example input 2 also run: side" in note for note in graph.notes)
    small = prune(dense, graph, Policy.uniform(graph, 0.5))
    assert small(**both).shape == small(**alone).shape == (1, 5)


def test_an_example_on_which_the_network_fails_is_named():
    with pytest.raises(InputError, match="example input 2"):
        trace(ByInput().eval(), [ZEROS, torch.zeros(1, 7)])
    with pytest.raises(InputError, match="empty list"):
        trace(ByInput().eval(), [])


def test_values_that_leave_as_an_array_or_list_stay():
    class Leaving(TwoWays):
        def forward(self, x):
            h = F.relu(self.first(x))
            order = [i for i, value in enumerate(self.gate(h).flatten().tolist()) if value > -1e9]
            return self.late(h)[order] + float(h.detach().numpy().max())

    reasons = _reasons(trace(Leaving().eval(), ZEROS))
    assert "told by their number" in reasons["first"]
