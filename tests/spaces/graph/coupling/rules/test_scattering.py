"""Graph networks: messages are gathered along edges, and channels pass through."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from espalier.spaces import trace
from espalier.testing.architectures import ArchitectureContract

EDGES = torch.tensor([[0, 1, 2, 3, 4, 0], [1, 2, 3, 4, 0, 2]])
GRAPH = (torch.zeros(5, 6), EDGES)


def index_add(x: torch.Tensor, message: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(x).index_add_(0, to, message)


def scatter_add(x: torch.Tensor, message: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
    return x.new_zeros(x.shape[0], message.shape[1]).scatter_add_(0, to[:, None].expand_as(message), message)


def scatter_reduce(x: torch.Tensor, message: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(x).scatter_reduce(0, to[:, None].expand_as(message), message, "amax", include_self=False)


def index_put(x: torch.Tensor, message: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(x).index_put((to,), message, accumulate=True)


def index_reduce(x: torch.Tensor, message: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(x).index_reduce_(0, to, message, "mean", include_self=False)


def segment_reduce(x: torch.Tensor, message: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
    return torch.segment_reduce(message, "sum", lengths=torch.tensor([2, 1, 1, 1, 1]), axis=0)


def sparse(x: torch.Tensor, message: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
    edges = torch.sparse_coo_tensor(torch.stack([to, torch.arange(to.numel())]), torch.ones(to.numel()), (5, 6))
    return torch.sparse.mm(edges, message)


class MessagePassing(nn.Module):
    """Messages of pairs of nodes, weighed by a softmax over each node's edges, then added up where they arrive."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes, self.message, self.update = nn.Linear(6, 8), nn.Linear(16, 10), nn.Linear(18, 7)
        self.weight, self.leave = nn.Linear(16, 1), nn.Linear(7, 3)

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.nodes(x))
        pairs = torch.cat([x.index_select(0, edges[0]), x[edges[1]]], 1)
        weight = self.weight(pairs).exp()
        total = torch.zeros(x.shape[0], 1).index_add(0, edges[1], weight)
        message = self.message(pairs) * (weight / total[edges[1]])
        gathered = message.new_zeros(x.shape[0], message.shape[1]).index_add_(0, edges[1], message)
        return self.leave(F.relu(self.update(torch.cat([x, gathered], 1))))


class TestMessagePassing(ArchitectureContract):
    batch = 1
    channel_multiples = (1,)
    example_input = GRAPH
    expected_groups: ClassVar = {"nodes": 8, "message": 10, "update": 7}

    @classmethod
    def model(cls) -> nn.Module:
        return MessagePassing()


class Gathering(nn.Module):
    """One layer of nodes, what their neighbours have, and another layer."""

    def __init__(self, gather) -> None:
        super().__init__()
        self.gather = gather
        self.first, self.second, self.leave = nn.Linear(6, 8), nn.Linear(8, 7), nn.Linear(7, 3)

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.first(x))
        return self.leave(F.relu(self.second(x + self.gather(x, x[edges[0]], edges[1]))))


@pytest.mark.parametrize(
    "gather", [index_add, scatter_add, scatter_reduce, index_put, index_reduce, segment_reduce, sparse]
)
def test_channels_pass_through_however_messages_are_gathered(gather):
    graph = trace(Gathering(gather).eval(), GRAPH)
    assert {g.name: (g.channels, g.verification) for g in graph} == {"first": (8, "exact"), "second": (7, "exact")}


def test_channels_that_are_scattered_over_stay():
    class Scattered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.leave = nn.Linear(6, 8), nn.Linear(5, 7), nn.Linear(7, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            places = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2])
            return self.leave(F.relu(self.second(x.new_zeros(x.shape[0], 5).index_add(1, places, x))))

    graph = trace(Scattered().eval(), torch.zeros(1, 6))
    assert [g.name for g in graph] == ["second"]
    assert "scattered" in next(f.reason for f in graph.frozen if f.name == "first")


class Canvas(nn.Module):
    """Features of points written onto an empty map, and frames that are shifted by one, as detectors have them."""

    def __init__(self) -> None:
        super().__init__()
        self.points, self.conv, self.leave = nn.Linear(3, 8), nn.Conv2d(8, 6, 1), nn.Conv2d(6, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        points = F.relu(self.points(x))
        canvas = points.new_zeros(x.shape[0], points.shape[-1], 9)
        canvas[:, :, torch.tensor([0, 3, 5, 7])] = points.transpose(1, 2)
        x = self.conv(canvas.view(x.shape[0], -1, 3, 3))
        shifted = torch.zeros_like(x)
        shifted[:, :, 1:] = x[:, :, :-1]
        return self.leave(F.relu(shifted))


class TestCanvas(ArchitectureContract):
    channel_multiples = (1,)
    example_input = torch.zeros(1, 4, 3)
    expected_groups: ClassVar = {"points": 8, "conv": 6}
    expected_frozen = frozenset()

    @classmethod
    def model(cls) -> nn.Module:
        return Canvas()
