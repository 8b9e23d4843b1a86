"""Recurrent layers: hidden units go from gates, steps, layers and readers at once; what cannot is frozen."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from espalier.evaluators.counting import count_macs
from espalier.spaces import Policy, prune, trace


class Net(nn.Module):
    """A layer before, a recurrent one, a layer after."""

    def __init__(self, kind: str, *, start: str = "none", **options: object) -> None:
        super().__init__()
        self.enter, self.start, self.units = nn.Linear(6, 10), start, 8
        self.layer = getattr(nn, kind)(10, 8, batch_first=True, **options)
        width = (self.layer.proj_size or 8) * (1 + self.layer.bidirectional)
        self.leave = nn.Linear(width, 3)

    def forward(self, x: torch.Tensor, start: torch.Tensor | None = None) -> torch.Tensor:
        x = self.enter(x)
        if self.start == "number":
            start = torch.zeros(1, x.shape[0], self.units)
        if self.start == "constant":
            start = torch.zeros(1, x.shape[0], 8)
        return self.leave(self.layer(x, start)[0])


class Packed(Net):
    """Sequences of several lengths."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        lengths = torch.full((x.shape[0],), x.shape[1] - 1)
        packed = pack_padded_sequence(self.enter(x), lengths, batch_first=True)
        return self.leave(pad_packed_sequence(self.layer(packed)[0], batch_first=True)[0])


EXAMPLE = torch.zeros(1, 5, 6)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}], ids=str)
def test_units_leave_all_gates_layers_and_directions(kind, options):
    model = Net(kind, **options).eval()
    graph = trace(model, EXAMPLE)
    assert {g.name: (g.channels, g.verification) for g in graph} == {"enter": (10, "exact"), "layer": (8, "exact")}
    small = prune(model, graph, Policy.from_kept(graph, {"enter": 7, "layer": 5}))
    gates, sides = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], 1 + model.layer.bidirectional
    assert (small.layer.input_size, small.layer.hidden_size, small.leave.in_features) == (7, 5, 5 * sides)
    for layer in range(model.layer.num_layers):
        reads = 7 if layer == 0 else 5 * sides
        for side in ("", "_reverse")[:sides]:
            assert tuple(getattr(small.layer, f"weight_ih_l{layer}{side}").shape) == (5 * gates, reads)
            assert tuple(getattr(small.layer, f"weight_hh_l{layer}{side}").shape) == (5 * gates, 5)
    assert type(small.layer) is type(model.layer) is getattr(nn, kind)
    assert [name for name, _ in small.named_parameters()] == [name for name, _ in model.named_parameters()]
    assert all(a is b for a, b in zip(small.layer._flat_weights, small.layer.parameters(), strict=True))
    assert all(a is b for a, b in zip(model.layer._flat_weights, model.layer.parameters(), strict=True))
    sizes = {name: p.numel() for name, p in small.layer.named_parameters() if "weight" in name}
    first = sum(size for name, size in sizes.items() if "hh" in name)  # of zeros: a constant where steps are told apart
    whole = 5 * (sum(sizes.values()) + 6 * 7 + small.leave.weight.numel())
    assert count_macs(small, EXAMPLE) == (whole if kind == "LSTM" else whole - first)


def test_a_first_state_of_the_old_size_freezes_and_one_from_a_number_follows():
    graph = trace(Net("GRU", start="constant").eval(), EXAMPLE)
    assert [g.name for g in graph] == ["enter"]
    assert "hidden" in next(f.reason for f in graph.frozen if f.name == "layer")
    model = Net("GRU", start="number").eval()
    graph = trace(model, EXAMPLE)
    small = prune(model, graph, Policy.from_kept(graph, {"layer": 3}))
    assert (small.units, small.layer.hidden_size, model.units) == (3, 3, 8)


def test_a_first_state_that_is_an_input_freezes():
    graph = trace(Net("GRU").eval(), (EXAMPLE, torch.zeros(1, 1, 8)))
    assert [g.name for g in graph] == ["enter"]
    assert "input" in next(f.reason for f in graph.frozen if f.name == "layer")


def test_projections_are_offered_and_the_units_that_they_read_are_not():
    model = Net("LSTM", proj_size=4, num_layers=2).eval()
    graph = trace(model, EXAMPLE)
    offered = {g.channels: g.name for g in graph}
    assert sorted(offered) == [4, 10]
    assert "projections" in next(f.reason for f in graph.frozen if f.channels == 8)
    for kept in (1, 3):
        small = prune(model, graph, Policy.from_kept(graph, {offered[4]: kept}))
        assert (small.layer.proj_size, small.layer.hidden_size, small.leave.in_features) == (kept, 8, kept)
        assert small(EXAMPLE).shape == (1, 5, 3)


def test_packed_sequences_are_followed():
    model = Packed("LSTM", bidirectional=True).eval()
    graph = trace(model, EXAMPLE)
    assert {g.name: (g.channels, g.verification) for g in graph} == {"enter": (10, "exact"), "layer": (8, "exact")}


def test_units_that_are_the_output_are_frozen():
    graph = trace(nn.LSTM(6, 8).eval(), torch.zeros(5, 1, 6))
    assert len(graph) == 0
    assert all("output" in f.reason for f in graph.frozen)
