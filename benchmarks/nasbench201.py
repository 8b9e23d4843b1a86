"""The networks of NAS-Bench-201 for CIFAR-10, from a cell's text (Dong and Yang, ICLR 2020).

A 3x3 stem of 16 channels, three stages of five cells at 16, 32 and 64 channels, a residual block of stride 2 between
stages, and a mean and a linear layer at the end, on 3x32x32.

A cell has four nodes; each adds up its edges from the nodes before. The runtimes behind the measured latencies are not
documented. What they do with ``none`` edges was read from the rows themselves, all of them, and shows plainly:

- ``eager`` (Xeon Gold 6226, TITAN RTX): every operator of every node runs, whether its result is read or not, and each
  ``none`` is a kernel that writes zeros.
- ``compiled`` (Raspberry Pi 4, Pixel 3): a ``none`` edge costs nothing; operators on zeros run; so do those whose
  result nothing reads, but for one case: a third node that is not read and adds two edges is left out, with what only
  it reads.

Cells whose output depends on nothing are left out (10 of 600: the compiling runtimes folded most, to 0.01 ms). The
networks serve their kernels: under ``compiled`` a node of zeros takes the cell's input instead, which costs the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

Runtime = Literal["eager", "compiled"]
Edge = tuple[str, int, int]
"""Operation, source node, target node."""
WIDTHS = (16, 32, 64)
CELLS_PER_STAGE = 5


def parse(architecture: str) -> tuple[Edge, ...]:
    """Return all edges of a cell's text."""
    edges: list[Edge] = []
    for target, node in enumerate(architecture.split("+"), start=1):
        for item in node.strip("|").split("|"):
            operation, source = item.split("~")
            edges.append((operation, int(source), target))
    return tuple(edges)


def connected(edges: Sequence[Edge]) -> tuple[Edge, ...]:
    """Return the edges that are not ``none``."""
    return tuple(edge for edge in edges if edge[0] != "none")


def reaches_output(edges: Sequence[Edge]) -> bool:
    """Return whether a cell of these connected edges has an output that depends on its input."""
    fed = {0}
    for _, source, target in edges:
        if source in fed:
            fed.add(target)
    return 3 in fed


def executed(edges: Sequence[Edge]) -> tuple[Edge, ...]:
    """Return the connected edges that a compiling runtime executes."""
    pairs = {(source, target) for _, source, target in edges}
    if (2, 3) in pairs or not {(0, 2), (1, 2)} <= pairs:
        return tuple(edges)
    kept = {1, 3} if (1, 3) in pairs else {3}
    return tuple(e for e in edges if e[2] in kept)


class ReluConvNorm(nn.Sequential):
    """ReLU, convolution without bias, BatchNorm."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        super().__init__(nn.ReLU(), conv, nn.BatchNorm2d(outputs))


class Zero(nn.Module):
    """A ``none`` edge: zeros of its input's shape."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return zeros."""
        return x.mul(0.0)


def _operation(name: str, channels: int) -> nn.Module:
    if name == "none":
        return Zero()
    if name == "skip_connect":
        return nn.Identity()
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return ReluConvNorm(channels, channels, kernel={"nor_conv_1x1": 1, "nor_conv_3x3": 3}[name])


class Cell(nn.Module):
    """One cell of four nodes."""

    def __init__(self, edges: Sequence[Edge], channels: int) -> None:
        super().__init__()
        self.edges = tuple(edges)
        self.operations = nn.ModuleList(_operation(name, channels) for name, _, _ in edges)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the last node, of the shape of ``x``."""
        nodes = {0: x}
        for target in (1, 2, 3):
            if not any(end == target for _, _, end in self.edges):
                nodes[target] = x
                continue
            for (_, source, end), operation in zip(self.edges, self.operations, strict=True):
                if end == target:
                    value = operation(nodes[source])
                    nodes[target] = nodes[target] + value if target in nodes else value
        return nodes[3]


class Reduction(nn.Module):
    """The residual block of stride 2 between two stages."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = ReluConvNorm(inputs, outputs, 3, stride=2)
        self.second = ReluConvNorm(outputs, outputs, 3)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Halve height and width."""
        return self.shortcut(x) + self.second(self.first(x))


class NasBench201(nn.Module):
    """A whole network."""

    def __init__(self, edges: Sequence[Edge]) -> None:
        super().__init__()
        stages: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)]
        for index, width in enumerate(WIDTHS):
            if index:
                stages.append(Reduction(WIDTHS[index - 1], width))
            stages += [Cell(edges, width) for _ in range(CELLS_PER_STAGE)]
        self.features = nn.Sequential(*stages, nn.BatchNorm2d(64), nn.ReLU())
        self.classifier = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (1, 3, 32, 32) to (1, 10)."""
        return self.classifier(self.features(x).mean((2, 3)))


def build(architecture: str, runtime: Runtime) -> NasBench201 | None:
    """Return the network of a cell's text in eval mode; ``None`` where its output depends on nothing."""
    edges = parse(architecture)
    if not reaches_output(connected(edges)):
        return None
    return NasBench201(edges if runtime == "eager" else executed(connected(edges))).eval()
