"""Outer products: each of the two kinds of channels goes alone, where the code keeps them apart."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from espalier.spaces import trace
from espalier.testing.architectures import ArchitectureContract

TOKENS = torch.zeros(1, 4, 6)


class SelectiveScan(nn.Module):
    """Mamba's block: inner channels by states, step by step."""

    def __init__(self, inner: int = 8, states: int = 4, rank: int = 2) -> None:
        super().__init__()
        self.inner, self.states, self.rank = inner, states, rank
        self.enter, self.conv = nn.Linear(6, 2 * inner), nn.Conv1d(inner, inner, 3, groups=inner, padding=2)
        self.pick, self.step = nn.Linear(inner, rank + 2 * states, bias=False), nn.Linear(rank, inner)
        self.decay, self.skip = nn.Parameter(torch.rand(inner, states).log()), nn.Parameter(torch.ones(inner))
        self.leave = nn.Linear(inner, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        length = x.shape[1]
        x, gate = self.enter(x).split([self.inner, self.inner], -1)
        x = F.silu(self.conv(x.transpose(1, 2))[..., :length].transpose(1, 2))
        step, write, read = self.pick(x).split([self.rank, self.states, self.states], -1)
        step = F.softplus(self.step(step))
        kept = torch.exp(torch.einsum("bld,dn->bldn", step, -self.decay.exp()))
        added = torch.einsum("bld,bln,bld->bldn", step, write, x)
        state, found = torch.zeros(x.shape[0], self.inner, self.states), []
        for t in range(length):
            state = kept[:, t] * state + added[:, t]
            found.append(torch.einsum("bdn,bn->bd", state, read[:, t]))
        return self.leave((torch.stack(found, 1) + x * self.skip) * F.silu(gate))


class TestSelectiveScan(ArchitectureContract):
    channel_multiples = (1,)
    example_input = TOKENS
    expected_groups: ClassVar = {"enter": 8, "pick": 2, "pick#2": 4}

    @classmethod
    def model(cls) -> nn.Module:
        return SelectiveScan()


class LinearAttention(nn.Module):
    """Keys by values as a state that grows, without heads."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = nn.Linear(6, 5), nn.Linear(6, 5), nn.Linear(6, 7), nn.Linear(7, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = F.relu(self.q(x)), F.relu(self.k(x)), self.v(x)
        return self.out(torch.einsum("bnk,bkv->bnv", q, torch.einsum("bnk,bnv->bkv", k, v)))


class TestLinearAttention(ArchitectureContract):
    channel_multiples = (1,)
    example_input = TOKENS
    expected_groups: ClassVar = {"q": 5, "v": 7}
    expected_frozen = frozenset()

    @classmethod
    def model(cls) -> nn.Module:
        return LinearAttention()


class Retention(nn.Module):
    """States of several heads, each of which forgets at its own pace."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.width = 4, 3
        self.q, self.k, self.v, self.out = nn.Linear(6, 12), nn.Linear(6, 12), nn.Linear(6, 12), nn.Linear(12, 3)
        self.register_buffer("decay", torch.linspace(0.2, 0.9, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        q, k, v = (f(x).view(batch, length, self.heads, self.width) for f in (self.q, self.k, self.v))
        state, found = torch.zeros(batch, self.heads, self.width, self.width), []
        for t in range(length):
            state = state * self.decay[:, None, None] + k[:, t, :, :, None] * v[:, t, :, None, :]
            found.append((q[:, t, :, :, None] * state).sum(2).flatten(1))
        return self.out(torch.stack(found, 1))


class TestRetention(ArchitectureContract):
    channel_multiples = (1,)
    example_input = TOKENS
    expected_groups: ClassVar = {"q": 4}

    @classmethod
    def model(cls) -> nn.Module:
        return Retention()


class TokenMixer(nn.Module):
    """A layer over tokens and one over channels, as MLP-Mixer has them."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.norm, self.leave = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)
        self.tokens, self.channels = (
            nn.Sequential(nn.Linear(n, k), nn.GELU(), nn.Linear(k, n)) for n, k in ((4, 5), (8, 10))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.enter(x).transpose(1, 2))
        x = (x + self.tokens(x)).transpose(1, 2)
        return self.leave(x + self.channels(x))


class TestTokenMixer(ArchitectureContract):
    channel_multiples = (1,)
    example_input = TOKENS
    expected_groups: ClassVar = {"enter": 8, "tokens.0": 5, "channels.0": 10}
    expected_frozen = frozenset()

    @classmethod
    def model(cls) -> nn.Module:
        return TokenMixer()


class Pooled(nn.Module):
    """Every map pools every channel; the products are laid end to end."""

    def __init__(self) -> None:
        super().__init__()
        self.values, self.maps, self.head = nn.Linear(6, 5), nn.Linear(6, 4), nn.Linear(20, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values, maps = self.values(x), self.maps(x).sigmoid()
        return self.head((maps[..., None] * values[..., None, :]).mean(1).flatten(1))


class TestPooled(ArchitectureContract):
    channel_multiples = (1,)
    example_input = TOKENS
    expected_groups: ClassVar = {"values": 5}
    expected_frozen = frozenset({"maps"})

    @classmethod
    def model(cls) -> nn.Module:
        return Pooled()


def test_one_value_that_acts_on_many_channels_stays():
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.gate, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 1, 1), nn.Conv2d(8, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(x)
            return self.head(x * self.gate(x).sigmoid())

    graph = trace(Gated().eval(), torch.zeros(1, 3, 4, 4))
    assert {g.name: g.channels for g in graph} == {"conv": 8}
    assert "one value of it acts on many channels" in next(f.reason for f in graph.frozen if f.name == "gate")


class Gated(nn.Module):
    """Halves that gate each other through a convolution of one place over tokens, then a weight for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.tokens, self.leave = nn.Linear(6, 12), nn.Conv1d(4, 4, 1), nn.Linear(6, 3)
        self.times = nn.Parameter(torch.randn(6, 4, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = F.gelu(self.enter(x)).chunk(2, -1)
        return self.leave(torch.einsum("blc,clk->bkc", left * self.tokens(right), self.times))


class TestGated(ArchitectureContract):
    channel_multiples = (1,)
    example_input = TOKENS
    expected_groups: ClassVar = {"enter": 6}

    @classmethod
    def model(cls) -> nn.Module:
        return Gated()
