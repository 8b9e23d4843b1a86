"""Convolutions in groups, transposed ones too, and filters that are repeated for any number of channels."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from espalier.spaces import Policy, prune, rank, trace
from espalier.testing.architectures import ArchitectureContract


class Upsampled(nn.Module):
    """Learned upsampling of each channel alone, then a transposed convolution in groups, as CenterNet and GANs have."""

    def __init__(self, conv: type[nn.Module], transposed: type[nn.Module], norm: type[nn.Module]) -> None:
        super().__init__()
        self.first, self.up = conv(3, 6, 3, padding=1), transposed(6, 6, 4, 2, 1, groups=6, bias=False)
        self.norm, self.mix = norm(6), conv(6, 8, 1)
        self.grouped, self.last = transposed(8, 12, 3, 1, 1, groups=2), conv(12, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.mix(F.relu(self.norm(self.up(self.first(x))))))
        return self.last(F.relu(self.grouped(x)))


class OfUpsampled(ArchitectureContract):
    """What holds in any number of dimensions: channels go alone, or the same one of each group."""

    channel_multiples = (1,)
    expected_groups: ClassVar = {"first": 6, "mix": 4, "grouped": 6}
    expected_frozen = frozenset()


class TestUpsampled1d(OfUpsampled):
    example_input = torch.zeros(1, 3, 5)

    @classmethod
    def model(cls) -> nn.Module:
        return Upsampled(nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d)


class TestUpsampled2d(OfUpsampled):
    example_input = torch.zeros(1, 3, 4, 4)

    @classmethod
    def model(cls) -> nn.Module:
        return Upsampled(nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)


class TestUpsampled3d(OfUpsampled):
    example_input = torch.zeros(1, 3, 2, 2, 2)

    @classmethod
    def model(cls) -> nn.Module:
        return Upsampled(nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d)


def test_a_depthwise_transposed_convolution_is_cut_as_by_hand():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ConvTranspose2d(8, 16, 4, 2, 1, groups=8), nn.Conv2d(16, 2, 1)).eval()
    graph = trace(model, torch.zeros(1, 3, 4, 4))
    small = prune(model, graph, Policy.from_kept(graph, {"0": 3}))
    kept = sorted(rank(model, graph, ["l2"]).of("l2", "0")[:3])
    assert (small[1].groups, small[1].in_channels, small[1].out_channels, small[2].in_channels) == (3, 3, 6, 6)
    pairs = [i for channel in kept for i in (2 * channel, 2 * channel + 1)]
    torch.testing.assert_close(small[1].weight, model[1].weight[kept])
    torch.testing.assert_close(small[1].bias, model[1].bias[pairs])
    torch.testing.assert_close(small[2].weight, model[2].weight[:, pairs])


class Blurred(nn.Module):
    """One filter, repeated for as many channels as come."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)
        self.register_buffer("filter", torch.ones(1, 1, 3, 3) / 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return self.last(F.conv2d(x, self.filter.repeat(x.shape[1], 1, 1, 1), padding=1, groups=x.shape[1]))


class TestBlurred(ArchitectureContract):
    channel_multiples = (1,)
    example_input = torch.zeros(1, 3, 4, 4)
    expected_groups: ClassVar = {"first": 8}

    @classmethod
    def model(cls) -> nn.Module:
        return Blurred()


class WrittenGroups(nn.Module):
    """Groups that are a number in the code, which no cut can change."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)
        self.filters = nn.Parameter(torch.randn(8, 1, 3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(F.conv2d(self.first(x), self.filters, padding=1, groups=8))


def test_groups_that_are_written_as_a_number_are_named_in_the_reason():
    graph = trace(WrittenGroups().eval(), torch.zeros(1, 3, 4, 4))
    frozen = next(f for f in graph.frozen if f.name == "first")
    assert "groups=8" in frozen.reason
    assert "written as a number" in frozen.reason


@pytest.mark.parametrize(("groups", "count"), [(2, 2), (4, 1)])
def test_convolutions_in_groups_that_torch_fx_found_are_cut_like_others(groups: int, count: int):
    layers = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 12, 1, groups=groups), nn.Conv2d(12, 2, 1)
    plain = nn.Sequential(*layers).eval()
    found = trace(torch.fx.symbolic_trace(plain), torch.zeros(1, 3, 5, 5))
    wanted = trace(plain, torch.zeros(1, 3, 5, 5))
    assert [(g.name, g.channels, g.slices) for g in found] == [(g.name, g.channels, g.slices) for g in wanted]
    assert len(found) == count


class TestWrittenIntoAGraph(ArchitectureContract):
    """The same number in a graph that torch.fx has traced is an argument, which follows."""

    channel_multiples = (1,)
    example_input = torch.zeros(1, 3, 4, 4)
    expected_groups: ClassVar = {"first": 8}

    @classmethod
    def model(cls) -> nn.Module:
        return torch.fx.symbolic_trace(WrittenGroups())


def test_the_graph_of_the_dense_network_keeps_its_numbers():
    model = torch.fx.symbolic_trace(WrittenGroups().eval())
    graph = trace(model, torch.zeros(1, 3, 4, 4))
    small = prune(model, graph, Policy.from_kept(graph, {"first": 3}))
    assert "groups = 3" in small.code
    assert "groups = 8" in model.code
