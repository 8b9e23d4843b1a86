"""Views by sizes that are read from shapes, kept by modules, or written down."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from espalier.spaces import Policy, prune, trace
from espalier.testing.architectures import ArchitectureContract

TOKENS, IMAGE = torch.zeros(1, 5, 6), torch.zeros(1, 3, 4, 4)


class ShapedAttention(nn.Module):
    """Attention that divides what it reads from its input's shape; the stream itself is as wide."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.scale = 4, 0.5
        self.enter, self.qkv = nn.Linear(6, 16), nn.Linear(16, 48)
        self.proj, self.leave = nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.enter(x)
        batch, length, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * self.scaled_by(q)).softmax(-1)
        return self.leave(x + self.proj((weights @ v).transpose(1, 2).reshape(batch, length, width)))

    def scaled_by(self, q: torch.Tensor) -> float:
        return self.scale


class TestShapedAttention(ArchitectureContract):
    channel_multiples = (1,)
    example_input = TOKENS
    expected_groups: ClassVar = {"enter": 4}
    expected_frozen = frozenset()

    @classmethod
    def model(cls) -> nn.Module:
        return ShapedAttention()

    def test_it_is_exact(self, graph) -> None:
        assert graph.group("enter").verification == "exact"


class ScaledAttention(ShapedAttention):
    """The scale follows the width that is left, as that of PyTorch's own function does."""

    def scaled_by(self, q: torch.Tensor) -> float:
        return q.shape[-1] ** -0.5


class TestScaledAttention(TestShapedAttention):
    @classmethod
    def model(cls) -> nn.Module:
        return ScaledAttention()

    def test_it_is_exact(self, graph) -> None:
        assert graph.group("enter").verification == "shape"


class WrittenHeads(nn.Module):
    """So many heads, as wide as what the projections make allows."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.leave = nn.Linear(6, 16), nn.Linear(6, 16), nn.Linear(6, 16), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (self.split(f(x)) for f in (self.q, self.k, self.v))
        return self.leave((0.5 * q @ k.mT).softmax(-1).matmul(v).transpose(1, 2).flatten(2))

    @staticmethod
    def split(x: torch.Tensor) -> torch.Tensor:
        return x.view(x.shape[0], x.shape[1], 2, x.shape[2] // 2).transpose(1, 2)


class TestWrittenHeads(ArchitectureContract):
    """Heads that are written down stay; each gets narrower."""

    channel_multiples = (1,)
    example_input = TOKENS
    expected_groups: ClassVar = {"q": 8}
    expected_frozen = frozenset()

    @classmethod
    def model(cls) -> nn.Module:
        return WrittenHeads()


class Halved(nn.Module):
    """Shuffles, gates and takes the larger of pairs, by half of the width that comes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 12, 1), nn.Conv2d(6, 10, 1)
        self.leave = nn.Conv2d(5, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        n, c, h, w = x.shape
        x = self.second(x.view(n, c // 2, 2, h, w).transpose(1, 2).reshape(n, c, h, w))
        n, c, h, w = x.shape
        left, right = x.view(n, 2, c // 2, h, w).unbind(1)
        x = self.third(left * right.sigmoid())
        n, c, h, w = x.shape
        return self.leave(x.view(n, c // 2, 2, h, w).amax(2))


class TestHalved(ArchitectureContract):
    channel_multiples = (1,)
    example_input = IMAGE
    expected_groups: ClassVar = {"first": 4, "second": 6, "third": 5}
    expected_frozen = frozenset()

    @classmethod
    def model(cls) -> nn.Module:
        return Halved()


class Reshaped(nn.Module):
    """A reshape of one's own, as many bring it for ``nn.Sequential``."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(self.shape)


class TestGenerators(ArchitectureContract):
    """A width that a module keeps follows, beside sizes in space that are no less."""

    channel_multiples = (1,)
    example_input = torch.zeros(1, 6)
    expected_groups: ClassVar = {"0": 4, "3": 5, "7": 4, "9": 3}

    @classmethod
    def model(cls) -> nn.Module:
        return nn.Sequential(
            *(nn.Linear(6, 64), nn.Unflatten(1, (4, 4, 4)), nn.ReLU(), nn.ConvTranspose2d(4, 5, 4, 2, 1), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 64), Reshaped(-1, 4, 4, 4), nn.Conv2d(4, 3, 1)),
            *(nn.ReLU(), nn.Conv2d(3, 2, 1)),
        )


def test_an_unflattened_size_follows_in_the_pruned_network_alone():
    model = TestGenerators.model().eval()
    graph = trace(model, TestGenerators.example_input)
    small = prune(model, graph, Policy.from_kept(graph, {"0": 1, "7": 3}))
    assert tuple(small[1].unflattened_size) == (1, 4, 4)
    assert small[8].shape == (-1, 3, 4, 4)
    assert (tuple(model[1].unflattened_size), model[8].shape) == ((4, 4, 4), (-1, 4, 4, 4))


class Flattened(nn.Module):
    """Written down in one way or another."""

    def __init__(self, view) -> None:
        super().__init__()
        self.view = view
        self.conv, self.fc, self.leave = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(32, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.leave(F.relu(self.fc(self.view(F.relu(self.conv(x))))))


def test_a_width_that_is_written_down_is_named_in_the_reason():
    graph = trace(Flattened(lambda x: x.reshape(-1, 32)).eval(), IMAGE)
    frozen = next(f for f in graph.frozen if f.name == "conv")
    assert "x.reshape(-1, 32)" in frozen.reason
    assert "written as a number" in frozen.reason
    assert [g.name for g in graph] == ["fc"]


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.reshape(x.shape[0], -1, 4).flatten(1),
        lambda x: x.view(x.shape[0], x.shape[1], 2, 2).flatten(1),
        lambda x: x.flatten(2).view(-1, x.shape[1], 4).flatten(1),
    ],
)
def test_a_size_in_space_that_is_written_down_freezes_nothing(view):
    graph = trace(Flattened(view).eval(), IMAGE)
    assert {g.name: g.channels for g in graph} == {"conv": 8, "fc": 6}
