"""Branches: every one that can be dropped is found, and leaves what its masked twin computes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from espalier.spaces import Choice, Policy, prune, trace
from espalier.spaces.graph.liveness import Liveness


class InPlaceBlock(nn.Module):
    """A residual block whose activation overwrites what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.act, self.leave = nn.Linear(6, 8), nn.LeakyReLU(inplace=True), nn.Linear(8, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.leave(self.act(self.enter(x)))
        y += x
        return y


class InPlace(nn.Module):
    """Many such blocks: more than could be tried one by one."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(4, 6), nn.Linear(6, 3)
        self.blocks = nn.Sequential(*[InPlaceBlock() for _ in range(blocks)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x)))


def test_every_branch_of_a_deep_network_with_activations_in_place_can_be_dropped():
    model = InPlace(66).eval()
    graph = trace(model, torch.zeros(1, 4))
    branches = [g.branch for g in graph if g.branch is not None]
    assert [b.end for b in branches] == [f"blocks.{i}.leave" for i in range(66)]
    dropped = {b.groups[0]: Choice("block", None, kept=0, of=1) for b in branches}
    small = prune(model, graph, Policy.of(graph, dropped))
    probe = torch.randn(2, 4, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(small(probe), model.head(model.stem(probe)))
    assert {name.partition(".")[0] for name, _ in small.named_parameters()} == {"stem", "head"}


def test_layers_that_are_multiplied_with_zeros_are_idle():
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.value, self.gate, self.head = (nn.Linear(4, 4) for _ in range(4))
            self.scale = nn.LayerNorm(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem(x)
            return self.head(x + self.value(self.scale(x)) * F.silu(self.gate(x)))

    flow = Liveness.of(Gate().eval(), torch.zeros(1, 4))
    assert flow.order == ["stem", "scale", "value", "gate", "head"]
    assert flow.idle(["value"]) == {"scale", "gate"}
    assert flow.idle(["gate"]) == {"scale", "value"}
    assert flow.idle(["stem"]) == frozenset()
    assert flow.idle(["head"]) == {"stem", "scale", "value", "gate"}


class Windows(nn.Module):
    """Linear layers over tokens in windows: four dimensions, of which the last has the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(3, 8), nn.Linear(8, 2)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8)) for _ in range(2)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.enter(x)
        for block in self.blocks:
            x = x + block(x)
        return self.leave(x)


def test_branches_over_windows_of_tokens_are_found():
    torch.manual_seed(0)
    model, x = Windows().eval(), torch.randn(1, 1, 5, 3)
    graph = trace(model, x)
    ends = {g.name: g.branch.end for g in graph if g.branch}
    assert ends == {"blocks.0.0": "blocks.0.2", "blocks.1.0": "blocks.1.2"}
    choices = {"blocks.0.0": Choice("block", None, kept=0, of=1)}
    assert prune(model, graph, Policy.of(graph, choices))(x).shape == (1, 1, 5, 2)
