"""What is tried on one sample is judged on two: a network of which one sample shows nothing is judged as any other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from espalier.spaces import trace


class Centred(nn.Module):
    """Takes the mean over the batch away, so that one sample gives zeros whatever is cut."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x)
        return y - y.mean(0)


class ByPlace(nn.Module):
    """Weighs channels by numbers that belong to their places."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.back, self.leave = nn.Linear(6, 16), nn.Linear(16, 12), nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.enter(x))
        h = h * torch.rand(h.shape[1], generator=torch.Generator().manual_seed(3))
        return self.leave(F.relu(self.back(h)))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(6, 8), nn.Linear(8, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.leave(F.relu(self.enter(x)))


def test_groups_that_one_sample_cannot_tell_apart_are_told_by_two():
    torch.manual_seed(0)
    graph = trace(Centred(ByPlace()).eval(), torch.zeros(1, 6))
    assert {g.name: g.verification for g in graph.groups} == {"inner.back": "exact"}
    assert {f.name for f in graph.frozen} == {"inner.enter", "inner.leave"}


def test_branches_are_found_where_one_sample_shows_nothing():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), Block(), Block(), Block(), nn.Linear(6, 3))
    graph = trace(Centred(network).eval(), torch.zeros(1, 4))
    assert [g.branch.end for g in graph if g.branch is not None] == [f"inner.{i}.leave" for i in (1, 2, 3)]


def test_a_branch_that_fails_in_training_alone_is_not_offered():
    class Watched(nn.Module):
        """In training mode it asks for a layer of the block."""

        def __init__(self) -> None:
            super().__init__()
            self.stem, self.block, self.head = nn.Linear(4, 6), Block(), nn.Linear(6, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.block(self.stem(x))
            if self.training and not any(p.shape[0] > 1 for p in self.block.parameters()):
                raise RuntimeError("nothing left in the block")
            return self.head(y)

    torch.manual_seed(0)
    graph = trace(Watched().eval(), torch.zeros(1, 4))
    assert all(g.branch is None for g in graph)
    assert graph.groups
