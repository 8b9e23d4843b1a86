"""Windows over space and over channels, bilinear layers, distances and bags of words."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from espalier.spaces import Policy, prune, trace
from espalier.testing.architectures import ArchitectureContract

IMAGE = torch.zeros(1, 3, 8, 8)


class Resampled(nn.Module):
    """Windows taken apart and laid down again, a pool that is undone, and a sampled grid."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 5, 1), nn.Conv2d(5, 4, 1)
        self.unfold, self.fold = nn.Unfold(2, stride=2), nn.Fold((8, 8), 2, stride=2)
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
        self.leave = nn.Conv2d(4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.second(self.fold(F.relu(self.unfold(self.first(x)))))
        x = self.third(self.unpool(*self.pool(x)))
        where = F.affine_grid(torch.eye(2, 3).expand(x.shape[0], -1, -1), list(x.shape), align_corners=False)
        return self.leave(F.grid_sample(x, where, align_corners=False))


def test_channels_pass_through_what_moves_values_in_space():
    graph = trace(Resampled().eval(), IMAGE)
    found = {g.name: (g.channels, g.verification) for g in graph}
    assert found == {"first": (6, "exact"), "second": (5, "exact"), "third": (4, "exact")}


def test_coordinates_stay():
    class Warped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.where, self.leave = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 2, 1), nn.Conv2d(6, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            where = self.where(x).permute(0, 2, 3, 1).tanh()
            return self.leave(F.grid_sample(x, where, align_corners=False))

    graph = trace(Warped().eval(), IMAGE)
    assert {g.name: g.channels for g in graph} == {"first": 6}
    assert "coordinates" in next(f.reason for f in graph.frozen if f.name == "where")


class TestLocalResponse(ArchitectureContract):
    """Normalised by neighbouring channels: any width works, but a cut changes its neighbours."""

    channel_multiples = (1,)
    example_input = IMAGE
    expected_groups: ClassVar = {"0": 8, "3": 6}

    @classmethod
    def model(cls) -> nn.Module:
        layers = nn.Conv2d(3, 8, 1), nn.ReLU(), nn.LocalResponseNorm(5), nn.Conv2d(8, 6, 1), nn.ReLU()
        return nn.Sequential(*layers, nn.Conv2d(6, 2, 1))

    def test_neighbours_are_verified_by_shape(self, graph) -> None:
        assert {g.name: g.verification for g in graph} == {"0": "shape", "3": "exact"}


class Pairs(nn.Module):
    """Two inputs that meet in a bilinear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.pair = nn.Linear(6, 5), nn.Linear(4, 7), nn.Bilinear(5, 7, 8)
        self.leave = nn.Linear(8, 3)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return self.leave(F.relu(self.pair(F.relu(self.left(left)), F.relu(self.right(right)))))


class TestPairs(ArchitectureContract):
    channel_multiples = (1,)
    example_input = (torch.zeros(1, 6), torch.zeros(1, 4))
    expected_groups: ClassVar = {"left": 5, "right": 7, "pair": 8}
    expected_frozen = frozenset()

    @classmethod
    def model(cls) -> nn.Module:
        return Pairs()


def test_a_bilinear_layer_knows_its_new_sizes():
    model = Pairs().eval()
    graph = trace(model, TestPairs.example_input)
    pair = prune(model, graph, Policy.from_kept(graph, {"left": 2, "right": 3, "pair": 4})).pair
    assert (pair.in1_features, pair.in2_features, pair.out_features) == (2, 3, 4)
    assert tuple(pair.weight.shape) == (4, 2, 3)


class TestBagOfWords(ArchitectureContract):
    channel_multiples = (1,)
    example_input = torch.arange(6).view(1, 6)
    expected_groups: ClassVar = {"0": 8, "1": 6}

    @classmethod
    def model(cls) -> nn.Module:
        return nn.Sequential(nn.EmbeddingBag(20, 8), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))


def test_coordinates_of_prototypes_follow_what_is_compared_with_them():
    class Prototypes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.known = nn.Linear(6, 8), nn.Parameter(torch.randn(4, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return -torch.cdist(F.relu(self.first(x)), self.known)

    model = Prototypes().eval()
    graph = trace(model, torch.zeros(1, 6))
    assert {g.name: (g.channels, g.verification) for g in graph} == {"first": (8, "shape")}
    assert tuple(prune(model, graph, Policy.from_kept(graph, {"first": 3})).known.shape) == (4, 3)
