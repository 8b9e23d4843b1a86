"""Small convolutional networks of random shape, whose kernels are what common networks are made of."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

_SIZES = (8, 16, 24, 32, 48)
_MAX_WIDTH = 160


class _Residual(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.body(x))


def random_networks(generator: torch.Generator, *, multiple: int) -> Iterator[tuple[nn.Module, torch.Tensor]]:
    """Yield networks in eval mode with their inputs, without end.

    Each has a 3x3 stem, three to five blocks (3x3 convolutions, some of stride 2, residual pairs, depthwise and
    pointwise pairs, pools) and a linear head, at widths that are multiples of ``multiple``.
    """
    while True:
        size = _SIZES[_draw(generator, len(_SIZES))]
        width = _width(generator, multiple)
        layers: list[nn.Module] = [_conv(3, width, 3)]
        for _ in range(3 + _draw(generator, 3)):
            block, width = _block(generator, width, _width(generator, multiple))
            layers.append(block)
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 10)]
        yield nn.Sequential(*layers).eval(), torch.zeros(1, 3, size, size)


def _block(generator: torch.Generator, inputs: int, outputs: int) -> tuple[nn.Module, int]:
    kind = _draw(generator, 5)
    if kind == 0:
        return _conv(inputs, outputs, 3), outputs
    if kind == 1:
        return _conv(inputs, outputs, 3, stride=2), outputs
    if kind == 2:
        second = nn.Sequential(nn.Conv2d(outputs, inputs, 3, padding=1), nn.BatchNorm2d(inputs))
        return _Residual(nn.Sequential(_conv(inputs, outputs, 3), second)), inputs
    if kind == 3:
        return nn.Sequential(_conv(inputs, inputs, 3, groups=inputs), _conv(inputs, outputs, 1)), outputs
    return nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), _conv(inputs, outputs, 1)), outputs


def _conv(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def _width(generator: torch.Generator, multiple: int) -> int:
    return multiple * (1 + _draw(generator, max(_MAX_WIDTH // multiple, 1)))


def _draw(generator: torch.Generator, below: int) -> int:
    return int(torch.randint(below, (), generator=generator))
