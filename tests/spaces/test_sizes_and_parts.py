"""Sizes kept as lists of parts, heads that cannot go alone, windows over channels, channels that go two by two."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from espalier.spaces import Graph, Policy, prune, trace


class MixedDepthwise(nn.ModuleDict):
    """Convolves parts of its channels with windows of different sizes; a container with a forward of its own."""

    def __init__(self, parts: list[int]) -> None:
        super().__init__({str(i): nn.Conv2d(n, n, 2 * i + 1, padding=i, groups=n) for i, n in enumerate(parts)})
        self.splits = parts

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = torch.split(x, self.splits, 1)
        return torch.cat([conv(part) for conv, part in zip(self.values(), parts, strict=True)], 1)


class MixedReading(nn.ModuleDict):
    """Reads parts of its channels with a layer each."""

    def __init__(self, parts: list[int], width: int) -> None:
        super().__init__({str(i): nn.Conv2d(n, width, 1) for i, n in enumerate(parts)})
        self.splits = parts

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = torch.split(x, self.splits, 1)
        return torch.cat([conv(part) for conv, part in zip(self.values(), parts, strict=True)], 1)


def test_sizes_of_parts_follow_each_its_own_channels():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 12, 1), MixedDepthwise([3, 5, 4]), MixedReading([5, 7], 5), nn.Conv2d(10, 2, 1))
    graph = trace(model.eval(), torch.zeros(1, 3, 8, 8))
    # The middle part is read partly by one layer and partly by the other.
    assert sorted((g.channels, g.verification) for g in graph) == [(n, "exact") for n in (2, 3, 3, 4, 5, 5)]
    kept = {g.name: g.channels for g in graph} | {graph.groups[0].name: 1, graph.groups[1].name: 1}
    small = prune(model, graph, Policy.from_kept(graph, kept))
    assert sum(small[1].splits) == sum(small[2].splits) == small[0].out_channels < 12
    assert small(torch.randn(2, 3, 8, 8)).shape == (2, 2, 8, 8)
    assert model[1].splits == [3, 5, 4]


class Attention(nn.Module):
    """Divides the width of its stream by its heads; may convolve the values of some heads with larger windows."""

    def __init__(self, width: int, heads: int, parts: tuple[int, ...]) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.channel_parts = [p * width // heads for p in parts]
        windows = enumerate(self.channel_parts)
        self.windows = nn.ModuleList([nn.Conv1d(n, n, 2 * i + 1, padding=i, groups=n) for i, n in windows])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(-2, -1)).softmax(-1) @ v
        if self.channel_parts:
            spread = torch.split(v.transpose(2, 3).reshape(batch, width, length), self.channel_parts, 1)
            near = torch.cat([conv(part) for conv, part in zip(self.windows, spread, strict=True)], 1)
            mixed = mixed + near.view(batch, self.heads, width // self.heads, length).transpose(2, 3)
        return self.proj(mixed.transpose(1, 2).reshape(batch, length, width))


class Stream(nn.Module):
    """One such attention beside a depthwise convolution over the tokens."""

    def __init__(self, heads: int, parts: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(5, 24), nn.Linear(24, 3)
        self.attention, self.places = Attention(24, heads, parts), nn.Conv1d(24, 24, 3, padding=1, groups=24)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.enter(x)
        x = x + self.places(x.mT).mT
        return self.leave(x + self.attention(x))


@pytest.mark.parametrize(("heads", "parts"), [(4, ()), (1, ()), (4, (1, 3))])
def test_head_dimensions_go_whatever_stands_beside_them(heads: int, parts: tuple[int, ...]):
    torch.manual_seed(0)
    model = Stream(heads, parts).eval()
    graph = trace(model, torch.zeros(1, 7, 5))
    assert {g.name: (g.channels, g.verification) for g in graph} == {"enter": (24 // heads, "exact")}
    assert {f.name for f in graph.frozen} == {"leave"}
    small = prune(model, graph, Policy.from_kept(graph, {"enter": 2}))
    assert small.places.groups == small.places.in_channels == 2 * heads
    assert small.attention.qkv.weight.shape == (6 * heads, 2 * heads)
    assert small.attention.channel_parts == [2 * p for p in parts]


class Attentive(nn.Module):
    """Weighs channels by a window over their neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 1)
        self.window = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return self.last(x * self.window(x.mean((2, 3)).unsqueeze(1)).sigmoid().view(*x.shape[:2], 1, 1))


def test_a_window_over_channels_keeps_them_apart():
    torch.manual_seed(0)
    model = Attentive().eval()
    graph = trace(model, torch.zeros(1, 3, 8, 8))
    assert _found(graph) == {"first": (8, "shape")}  # what is left has other neighbours
    small = prune(model, graph, Policy.from_kept(graph, {"first": 3}))
    assert small(torch.randn(2, 3, 8, 8)).shape == (2, 2, 6, 6)


class StandardisedPoint(nn.Conv2d):
    """A convolution of one by one whose filters are normalised at each use: they need two values."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = self.weight.reshape(1, self.out_channels, -1)
        weight = F.batch_norm(flat, None, None, training=True, momentum=0.0).reshape_as(self.weight)
        return F.conv2d(x, weight, self.bias)


def test_channels_go_two_by_two_where_one_alone_fails():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), StandardisedPoint(8, 6, 1), nn.Conv2d(6, 2, 1)).eval()
    graph = trace(model, torch.zeros(1, 3, 8, 8))
    assert _found(graph) == {"0": (4, "shape"), "2": (6, "exact")}
    small = prune(model, graph, Policy.from_kept(graph, {"0": 1}))
    assert small[0].out_channels == 2


class Blurred(nn.Module):
    """Smooths each channel with a fixed window that a buffer holds; no layer of PyTorch's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("window", torch.full((channels, 1, 3, 3), 1 / 9))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.get_buffer("window"), padding=1, groups=x.shape[1])


def test_channels_that_a_buffer_convolves_one_by_one_are_cut():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 1), Blurred(8), nn.Conv2d(8, 2, 1)).eval()
    assert _found(trace(model, torch.zeros(1, 3, 8, 8))) == {"0": (8, "exact")}


def _found(graph: Graph) -> dict[str, tuple[int, str]]:
    return {g.name: (g.channels, g.verification) for g in graph}
