"""Parameters that are never used, and those that no group reaches, counted by hand."""

from __future__ import annotations

import espalier_test_architectures as zoo
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from espalier.spaces import trace
from espalier.spaces.graph.parameter_usage import params_of, removable_params, unused_layers


class Mixed(nn.Module):
    """Layers that are called, weights that are used without a call, and leftovers."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.borrowed = nn.Linear(6, 8), nn.Linear(8, 8)
        self.recurrent, self.attention = nn.LSTM(8, 8), nn.MultiheadAttention(8, 2)
        self.normed = weight_norm(nn.Linear(8, 8))
        self.scale, self.forgotten = nn.Parameter(torch.ones(8)), nn.Parameter(torch.ones(5))
        self.auxiliary = nn.Sequential(nn.Linear(8, 3), nn.BatchNorm1d(3))
        self.stale = weight_norm(nn.Linear(2, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.linear(self.enter(x), self.borrowed.weight) * self.scale
        x = self.recurrent(x[None])[0]
        return self.normed(self.attention(x, x, x)[0][0])


def test_what_is_used_without_a_call_is_used_and_leftovers_are_told():
    model = Mixed().eval()
    unused = unused_layers(model, torch.zeros(1, 6))
    assert set(unused) == {"borrowed.bias", "forgotten", "auxiliary.0", "auxiliary.1", "stale"}
    assert params_of(model, unused) == 8 + 5 + (8 * 3 + 3) + 2 * 3 + (2 + 2 * 2 + 2)


@pytest.mark.parametrize("name", ["Tagger", "UNet", "Decoder", "FusedAttention", "LooseParameters", "Shuffled"])
def test_networks_without_leftovers_have_none(name):
    inputs = {"Tagger": torch.arange(9).view(1, 9), "Decoder": torch.arange(9).view(1, 9)}
    inputs |= {"FusedAttention": torch.zeros(1, 7, 5), "LooseParameters": torch.zeros(1, 3, 8, 8)}
    model = getattr(zoo, name)().eval()
    assert unused_layers(model, inputs.get(name, torch.zeros(1, 3, 16, 16))) == ()


def test_what_lies_in_no_channel_is_left_out():
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
    whole = sum(p.numel() for p in model.parameters())
    assert removable_params(model, trace(model, torch.zeros(1, 5))) == whole - 3
    # Without the second group the middle bias and the last layer are out of reach, and the middle weight is not.
    assert removable_params(model, trace(model, torch.zeros(1, 5), freeze=("2",))) == (5 * 8 + 8) + 8 * 6
    assert removable_params(model, trace(model, torch.zeros(1, 5), freeze=("0", "2"))) == 0


def test_shared_weights_count_once():
    model = zoo.Decoder().eval()
    graph = trace(model, torch.arange(9).view(1, 9))
    assert removable_params(model, graph) == sum(p.numel() for p in model.parameters())
