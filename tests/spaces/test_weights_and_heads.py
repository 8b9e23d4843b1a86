"""Weights that are normalised before use, and attention that divides its stream's width by its heads."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from espalier.spaces import Policy, prune, trace


class StandardisedConv(nn.Conv2d):
    """A convolution whose filters are normalised and scaled at each use."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)
        self.gain = nn.Parameter(torch.rand(outputs, 1, 1, 1) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = self.weight.reshape(1, self.out_channels, -1)
        weight = F.batch_norm(flat, None, None, weight=self.gain.view(-1), training=True, momentum=0.0)
        return F.conv2d(x, weight.reshape_as(self.weight), self.bias, padding=1)


class Standardised(nn.Module):
    """Two of them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = StandardisedConv(3, 8), StandardisedConv(8, 12), nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.second(F.relu(self.first(x)))).mean((2, 3)))


def test_weights_that_are_standardised_are_cut_with_their_gains():
    torch.manual_seed(0)
    model = Standardised().eval()
    graph = trace(model, torch.zeros(1, 3, 8, 8))
    # What the second convolution reads is part of its filters' statistics; the linear layer keeps none.
    assert {g.name: (g.channels, g.verification) for g in graph} == {"first": (8, "shape"), "second": (12, "exact")}
    small = prune(model, graph, Policy.from_kept(graph, {"first": 5, "second": 7}))
    assert small.second.weight.shape == (7, 5, 3, 3)
    assert small.second.gain.shape == (7, 1, 1, 1)
    assert small(torch.randn(2, 3, 8, 8)).shape == (2, 3)


class DividingAttention(nn.Module):
    """Its head dimension is the width of what comes in, divided by the number of heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(-2, -1) * self.scale).softmax(-1) @ v
        return self.proj(mixed.transpose(1, 2).reshape(batch, length, width))


class DividingTransformer(nn.Module):
    """Two such attentions on one stream."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(5, 24), nn.Linear(24, 3)
        self.layers = nn.ModuleList([DividingAttention(24, 4), DividingAttention(24, 4)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.enter(x)
        for layer in self.layers:
            x = x + layer(x)
        return self.leave(x)


def test_head_dimensions_go_with_the_stream_that_they_are_computed_from():
    torch.manual_seed(0)
    model = DividingTransformer().eval()
    graph = trace(model, torch.zeros(1, 7, 5))
    assert {g.name: (g.channels, g.verification) for g in graph} == {"enter": (6, "exact")}
    assert {f.name for f in graph.frozen} == {"leave"}
    small = prune(model, graph, Policy.from_kept(graph, {"enter": 4}))
    assert [layer.qkv.weight.shape for layer in small.layers] == [(48, 16), (48, 16)]
    assert [layer.proj.weight.shape for layer in small.layers] == [(16, 16), (16, 16)]
