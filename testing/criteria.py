"""The contract of a criterion, as tests: subclass :class:`CriterionContract` and say how the criterion is made.

class TestMine(CriterionContract):
    @classmethod
    def make(cls):
        return MyCriterion(...)
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ..spaces.graph.groups import Graph, Group
from ..spaces.graph.slicing import named_tensors
from ..spaces.graph.trace import trace
from ..spaces.importance.criteria import Criterion, Need, Statistics
from ..spaces.importance.samples import Samples
from ..spaces.importance.statistics import gather
from ..spaces.inputs import Inputs

_CLASSES = 4
_IMAGES = torch.zeros(1, 3, 8, 8)


class Chain(nn.Module):
    """Convolutions with BatchNorm, one behind the other, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.first_bn = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 8, 3, padding=1, bias=False)
        self.second_bn = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, _CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits, shape ``(N, 4)``."""
        x = F.relu(self.first_bn(self.first(x)))
        return self.head(F.relu(self.second_bn(self.second(x))).mean((2, 3)))


class Separable(nn.Module):
    """A depthwise convolution between two others, and a shortcut around it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.stem_bn = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.pointwise = nn.Conv2d(8, 6, 1)
        self.head = nn.Linear(6, _CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits, shape ``(N, 4)``."""
        x = F.relu(self.stem_bn(self.stem(x)))
        return self.head(F.silu(self.pointwise(x + self.depthwise(x))).mean((2, 3)))


class Branches(nn.Module):
    """Two branches concatenated, flattened before the head, so that a channel has several columns there."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 5, 3, padding=1)
        self.right = nn.Conv2d(3, 7, 3, padding=1)
        self.norm = nn.BatchNorm2d(12)
        self.head = nn.Linear(12 * 4, _CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits, shape ``(N, 4)``."""
        x = F.relu(self.norm(torch.cat([self.left(x), self.right(x)], dim=1)))
        return self.head(F.adaptive_avg_pool2d(x, 2).flatten(1))


class Tokens(nn.Module):
    """The feed-forward part of a transformer, on ``(N, T, C)``."""

    def __init__(self) -> None:
        super().__init__()
        self.widen = nn.Linear(6, 12)
        self.narrow = nn.Linear(12, 10)
        self.head = nn.Linear(10, _CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits, shape ``(N, 4)``."""
        return self.head(self.narrow(F.gelu(self.widen(x))).mean(1))


NETWORKS: dict[str, tuple[type[nn.Module], torch.Tensor]] = {
    "convolution": (Chain, _IMAGES),
    "depthwise": (Separable, _IMAGES),
    "concatenation": (Branches, _IMAGES),
    "linear": (Tokens, torch.zeros(1, 5, 6)),
}


@dataclass(frozen=True)
class Case:
    """A network with what a criterion is asked about it."""

    network: nn.Module
    graph: Graph
    samples: Samples


class CountedBatches(Sequence[tuple[Inputs, Any]]):
    """Batches that count the samples they hand out."""

    def __init__(self, batches: Sequence[tuple[Inputs, Any]]) -> None:
        self._batches = batches
        self.seen = 0

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: Any) -> Any:
        return self._batches[index]

    def __iter__(self) -> Iterator[tuple[Inputs, Any]]:
        for batch in self._batches:
            self.seen += len(batch[1])
            yield batch


def case(kind: str, *, samples: int = 48, seed: int = 0) -> Case:
    """Return a network of one kind with random weights and BatchNorm statistics, traced, and random samples."""
    build, example = NETWORKS[kind]
    generator = torch.Generator().manual_seed(seed)
    network = build()
    with torch.no_grad():
        for name, tensor in named_tensors(network).items():
            if tensor.is_floating_point():
                positive = "running_var" in name or (tensor.dim() == 1 and name.endswith("weight"))
                drawn = torch.rand(tensor.shape, generator=generator) + 0.5 if positive else None
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.4 if drawn is None else drawn)
    network.eval()
    x = torch.randn((samples, *example.shape[1:]), generator=generator)
    y = torch.randint(0, _CLASSES, (samples,), generator=generator)
    batches = list(zip(x.split(16), y.split(16), strict=True))
    return Case(network, trace(network, example), Samples(batches, F.cross_entropy))


def permuted(network: nn.Module, group: Group, order: Sequence[int]) -> nn.Module:
    """Return a copy in which channel ``c`` of ``group`` is what channel ``order[c]`` was: the same function."""
    twin = copy.deepcopy(network)
    tensors = named_tensors(twin)
    with torch.no_grad():
        for piece in group.slices:
            tensor = tensors[piece.tensor]
            index = torch.arange(tensor.shape[piece.dim])
            for channel, source in enumerate(order):
                index[list(piece.positions[channel])] = torch.tensor(piece.positions[source])
            tensor.copy_(tensor.index_select(piece.dim, index))
    return twin


class CriterionContract:
    """What every criterion does. A subclass makes one."""

    looks_at_channels = True
    """Whether scores follow the channels when those change places; chance does not."""
    samples = 48
    """With how many samples the criterion must already work."""

    @classmethod
    def make(cls) -> Criterion:
        """Return the criterion under test."""
        raise NotImplementedError("a subclass returns its criterion here")

    @pytest.fixture(params=list(NETWORKS), scope="class")
    @classmethod
    def case(cls, request: pytest.FixtureRequest) -> Case:
        """Return a network of each kind."""
        return case(request.param, samples=cls.samples)

    def _statistics(self, network: nn.Module, samples: Samples, *, seed: int = 0) -> Statistics:
        return gather(network, self.make().needs, samples, seed=seed)

    def _groups(self, case: Case, statistics: Statistics) -> list[Group]:
        return [group for group in case.graph if self.make().applies(group, statistics)]

    def _found(self, statistics: Statistics) -> list[dict[Any, torch.Tensor]]:
        seen = statistics.activations
        found = (statistics.gradients, statistics.squared_gradients, statistics.sample_changes, seen.read, seen.written)
        return [dict(tensors) for tensors in found]

    def test_it_needs_what_can_be_gathered(self) -> None:
        assert self.make().needs <= set(get_args(Need))

    def test_every_network_has_groups_to_look_at(self, case: Case) -> None:
        assert len(case.graph) >= 2

    def test_it_applies_somewhere(self) -> None:
        cases = [case(kind, samples=self.samples) for kind in NETWORKS]
        assert any(self._groups(c, self._statistics(c.network, c.samples)) for c in cases)

    def test_each_channel_has_a_finite_score(self, case: Case) -> None:
        statistics = self._statistics(case.network, case.samples)
        for group in self._groups(case, statistics):
            scores = self.make().scores(group, statistics)
            assert scores.shape == (group.channels,)
            assert scores.isfinite().all()
            assert not scores.requires_grad

    def test_it_tells_channels_apart(self, case: Case) -> None:
        statistics = self._statistics(case.network, case.samples)
        for group in self._groups(case, statistics):
            assert self.make().scores(group, statistics).unique().numel() > 1

    def test_one_seed_gives_one_answer(self, case: Case) -> None:
        first, second = (self._statistics(case.network, case.samples, seed=3) for _ in range(2))
        for group in self._groups(case, first):
            assert torch.equal(self.make().scores(group, first), self.make().scores(group, second))

    def test_scores_follow_the_channels(self, case: Case) -> None:
        if not self.looks_at_channels:
            pytest.skip("its scores do not depend on the channels")
        statistics = self._statistics(case.network, case.samples)
        for group in self._groups(case, statistics):
            order = torch.randperm(group.channels, generator=torch.Generator().manual_seed(1)).tolist()
            twin = permuted(case.network, group, order)
            for inputs, _ in case.samples.batches:
                torch.testing.assert_close(twin(inputs), case.network(inputs), atol=1e-5, rtol=1e-4)
            found = self.make().scores(group, self._statistics(twin, case.samples))
            expected = self.make().scores(group, statistics)[order]
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-3)

    def test_nothing_else_changes(self, case: Case) -> None:
        network, chance = case.network, torch.get_rng_state()
        before = {name: tensor.detach().clone() for name, tensor in named_tensors(network).items()}
        wanted = [p.requires_grad for p in network.parameters()]
        statistics = self._statistics(network, case.samples)
        gathered = [copy.deepcopy(found) for found in self._found(statistics)]
        for group in self._groups(case, statistics):
            self.make().scores(group, statistics)
        assert all(torch.equal(before[name], tensor) for name, tensor in named_tensors(network).items())
        for old, new in zip(gathered, self._found(statistics), strict=True):
            assert all(torch.equal(old[key], new[key]) for key in new)
        assert [p.requires_grad for p in network.parameters()] == wanted
        assert all(p.grad is None for p in network.parameters())
        assert not any(m.training or m._forward_hooks or m._forward_pre_hooks for m in network.modules())
        assert torch.equal(torch.get_rng_state(), chance)

    def test_each_sample_is_looked_at_once_for_each_need(self, case: Case) -> None:
        counted = CountedBatches(case.samples.batches)
        self._statistics(case.network, Samples(counted, case.samples.loss))
        assert counted.seen == self.samples * len(self.make().needs)
