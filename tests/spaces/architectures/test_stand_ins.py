"""What stands in for a dropped branch: the code around it runs on, whichever drops are taken and in either mode."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from espalier.evaluators.onnx.onnx_export import export_onnx
from espalier.spaces import Choice, Graph, Policy, prune, trace

IMAGE = torch.zeros(1, 3, 6, 6)
DROP = Choice("block", None, kept=0, of=1)


def normed(inputs: int, outputs: int, kernel: int, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups), nn.BatchNorm2d(outputs)
    )


class Chain(nn.Module):
    """Blocks one after another."""

    def __init__(self, block: Callable[[], nn.Module], count: int = 3) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 2, 1)
        self.blocks = nn.ModuleList([block() for _ in range(count)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(F.relu(x))


class Fused(nn.Module):
    """A reparameterisable unit that walks over its own lists of paths, as RepGhost does."""

    def __init__(self, inputs: int, outputs: int, last: nn.Module) -> None:
        super().__init__()
        self.primary, self.cheap = normed(inputs, outputs, 1), normed(outputs, outputs, 3, outputs)
        self.fusion_conv, self.fusion_bn = nn.Sequential(nn.Identity()), nn.Sequential(nn.BatchNorm2d(outputs))
        self.last = last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.primary(x))
        y = self.cheap(x)
        for conv, norm in zip(self.fusion_conv, self.fusion_bn, strict=True):
            y = y + norm(conv(x))
        return self.last(y)


class FusedBlock(nn.Module):
    """Two such units beside a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = Fused(8, 6, nn.ReLU()), Fused(6, 8, nn.Identity())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.leave(self.enter(x))


class Paths(nn.Module):
    """Convolutions side by side that may become one, as in RepVGG, then another beside a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.point, self.identity = normed(8, 8, 3), normed(8, 8, 1), nn.BatchNorm2d(8)
        self.extra = nn.Sequential(nn.Conv2d(8, 5, 1), nn.ReLU(), nn.Conv2d(5, 8, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.dense(x) + self.point(x) + self.identity(x))
        return x + self.extra(x)


class Plain(nn.Module):
    """A residual block of two convolutions; those derived from it read what they should not need."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.shortcut(x) + self.leave(F.relu(self.enter(x)))

    def shortcut(self, x: torch.Tensor) -> torch.Tensor:
        return x


class ReadsStride(Plain):
    def shortcut(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.leave.stride == (1, 1) else F.avg_pool2d(x, 2)


class ReadsWeight(Plain):
    def shortcut(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(self.leave.weight.dtype)


class ReadsWhileTraining(Plain):
    def shortcut(self, x: torch.Tensor) -> torch.Tensor:
        return x * (1 + 0 * self.leave.weight.mean()) if self.training else x


class AsksWhatItIs(Plain):
    def shortcut(self, x: torch.Tensor) -> torch.Tensor:
        return x if isinstance(self.leave, nn.Conv2d) else 2 * x


class Stochastic(Plain):
    """Left out at random while training, or scaled."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and float(torch.rand(())) < 0.3:
            return x
        return x + self.leave(F.relu(self.enter(x))) / (0.7 if self.training else 1)


class Listed(nn.Sequential):
    """A sequence with a forward of its own, which counts and indexes its layers."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(8, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self[0](x)
        for i in range(1, len(self)):
            y = self[i](y)
        return x + y


class Several(nn.Module):
    """A list of branches beside one shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [nn.Sequential(nn.Conv2d(8, 5, k, padding=k // 2), nn.ReLU(), nn.Conv2d(5, 8, 1)) for k in (1, 3)]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + sum(branch(x) for branch in self.branches)


class AnyOf(Chain):
    """Asks whichever weight of its blocks comes first: one at least must stay."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.to(next(self.blocks.parameters()).dtype))


class Keep:
    """A hook that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[torch.Tensor] = []

    def __call__(self, module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        self.heard.append(output)  # emptied by the network once it has read them


class Listening(Chain):
    """Reads the outputs of its blocks' last layers through hooks."""

    def __init__(self) -> None:
        super().__init__(Plain)
        self.keep = Keep()
        for block in self.blocks:
            block.leave.register_forward_hook(self.keep)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        y = y + sum(self.keep.heard).mean((1, 2, 3), keepdim=True)
        self.keep.heard.clear()
        return y


class Auxiliary(nn.Module):
    """While training another head reads the middle of each block."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head, self.aux = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1), nn.Conv2d(8, 2, 1)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)) for _ in range(2)])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x, heads = self.stem(x), []
        for first, second in self.blocks:
            y = F.relu(first(x))
            heads.append(self.aux(y))
            x = x + second(y)
        return (self.head(x), *heads) if self.training else (self.head(x),)


BLOCKS = {
    "reparameterised": (lambda: Chain(FusedBlock, 2), 2),
    "paths": (lambda: Chain(Paths), 3),
    "plain": (lambda: Chain(Plain), 3),
    "stride": (lambda: Chain(ReadsStride), 3),
    "weight": (lambda: Chain(ReadsWeight), 0),
    "weight while training": (lambda: Chain(ReadsWhileTraining), 0),
    "type": (lambda: Chain(AsksWhatItIs), 0),
    "stochastic": (lambda: Chain(Stochastic), 3),
    "sequence": (lambda: Chain(Listed), 3),
    "several": (lambda: Chain(Several, 2), 4),
    "any": (lambda: AnyOf(Plain), 2),
    "hooks": (Listening, 3),
    "auxiliary": (Auxiliary, 0),
}


def drops(graph: Graph) -> Iterator[tuple[str, ...]]:
    """Yield every set of branches: each alone, all together, and all between."""
    names = [g.name for g in graph if g.branch is not None]
    for count in range(1, len(names) + 1):
        yield from itertools.combinations(names, count)


@pytest.mark.parametrize("name", BLOCKS)
def test_every_drop_runs_in_both_modes_beside_any_other_choice(name: str):
    build, count = BLOCKS[name]
    torch.manual_seed(0)
    model = build().eval()
    graph = trace(model, IMAGE)
    assert sum(g.branch is not None for g in graph) == count
    probe = torch.randn(2, 3, 6, 6)
    wanted = [t.shape for t in _outputs(model, probe)]
    for dropped in drops(graph):
        for share in (1, 0.5):
            kept = {
                g: Choice.channel(kept=max(1, int(share * g.channels)), of=g.channels, criterion="l2") for g in graph
            }
            choices = {g.name: DROP if g.name in dropped else choice for g, choice in kept.items()}
            small = prune(model, graph, Policy.of(graph, choices))
            assert [t.shape for t in _outputs(small, probe)] == wanted
            sum(t.sum() for t in _outputs(small.train(), probe)).backward()
    if count:
        assert export_onnx(small.eval(), IMAGE)


def _outputs(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    found = model(x)
    return found if isinstance(found, tuple) else (found,)


def test_branches_without_a_shortcut_never_go_all_at_once():
    class Parallel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)
            self.left, self.right = (nn.Sequential(nn.Conv2d(8, 6, 1), nn.Conv2d(6, 8, 1)) for _ in range(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem(x)
            return self.head(self.left(x) + self.right(x))

    graph = trace(Parallel().eval(), IMAGE)
    assert len([g for g in graph if g.branch is not None]) == 1


def test_a_stand_in_keeps_plain_attributes_of_what_it_stands_for():
    torch.manual_seed(0)
    model = Chain(ReadsStride, 1).eval()
    model.blocks[0].leave.channels = "my own"
    graph = trace(model, IMAGE)
    small = prune(model, graph, Policy.of(graph, {"blocks.0.enter": DROP}))
    stand_in = small.blocks[0].leave
    assert (stand_in.stride, stand_in.kernel_size, stand_in.channels) == ((1, 1), (3, 3), "my own")
    assert not list(stand_in.parameters())


class WiderByOne(nn.Module):
    """A branch that ends in a transposed convolution, from 3 channels to 4: cut by one, it is as wide as it was fed."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 3, 3, padding=1)
        self.wide, self.narrow = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 3, 3, padding=1)
        self.up = nn.ConvTranspose2d(3, 4, 2, 2)
        self.head = nn.Linear(7, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = self.up(self.narrow(torch.relu(self.wide(x))))
        return self.head(torch.cat((nn.functional.adaptive_avg_pool2d(y, 8), x), 1).mean((2, 3)))


@pytest.mark.parametrize("cut", [0, 1])
def test_what_stands_in_for_a_transposed_convolution_is_as_wide_as_its_output(cut: int) -> None:
    model = WiderByOne().eval()
    graph = trace(model, torch.zeros(1, 3, 8, 8))
    assert graph.group("wide").branch is not None
    kept = {g.name: Choice.channel(kept=g.channels - cut, of=g.channels, criterion="l2") for g in graph}
    small = prune(model, graph, Policy.of(graph, {**kept, "wide": DROP}))
    assert small(torch.randn(2, 3, 8, 8)).shape == (2, 5)


def test_a_size_that_is_right_only_where_others_are_cut_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("espalier.spaces.architectures.stand_ins._width", lambda _layer: 3)
    graph = trace(WiderByOne().eval(), torch.zeros(1, 3, 8, 8))
    assert all(group.branch is None for group in graph)
