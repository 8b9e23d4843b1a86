"""Small networks of random shape in several families, whose kernels are what common networks are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count

import torch
from torch import nn
from torch.nn import functional

from .calibration_variants import STEPS, Variant

_SIZES = (8, 16, 24, 32, 48)
_MAX_WIDTH = 160
FAMILY_END = ", step "
"""Between a network's family and the step of its widths, in what it says of its origin."""


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


class _Attention(nn.Module):
    """Self-attention and a two-layer perceptron, each on top of a normalised residual."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.mlp(self.norm2(x))


class _Tokens(nn.Module):
    """Patches of an image as tokens."""

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.patches(x).flatten(2).transpose(1, 2)


class _Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(1)


def plain(generator: torch.Generator, multiple: int) -> tuple[nn.Module, torch.Tensor]:
    """Return 3x3 convolutions one after the other, halving the image now and then."""
    width = _width(generator, multiple)
    layers: list[nn.Module] = [_conv(3, width, 3)]
    for index in range(4 + _draw(generator, 6)):
        wider = _width(generator, multiple)
        layers.append(_conv(width, wider, 3 if _draw(generator, 4) else 1, stride=1 + (index % 3 == 1)))
        width = wider
    return _classifier(layers, width), _image(generator)


def residual(generator: torch.Generator, multiple: int) -> tuple[nn.Module, torch.Tensor]:
    """Return pairs of 3x3 convolutions around shortcuts, in two or three stages."""
    width = _width(generator, multiple)
    layers: list[nn.Module] = [_conv(3, width, 3)]
    for _ in range(2 + _draw(generator, 2)):
        for _ in range(1 + _draw(generator, 2)):
            inner = _width(generator, multiple)
            second = nn.Sequential(nn.Conv2d(inner, width, 3, padding=1), nn.BatchNorm2d(width))
            layers.append(_Residual(nn.Sequential(_conv(width, inner, 3), second)))
        wider = _width(generator, multiple)
        layers.append(_conv(width, wider, 3, stride=2))
        width = wider
    return _classifier(layers, width), _image(generator)


def separable(generator: torch.Generator, multiple: int) -> tuple[nn.Module, torch.Tensor]:
    """Return depthwise and pointwise convolutions in turn, some as inverted residuals."""
    width = _width(generator, multiple)
    layers: list[nn.Module] = [_conv(3, width, 3, stride=1 + _draw(generator, 2))]
    for _ in range(3 + _draw(generator, 5)):
        if _draw(generator, 2):
            inner = _width(generator, multiple)
            last = nn.Sequential(nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width))
            layers.append(_Residual(nn.Sequential(_conv(width, inner, 1), _conv(inner, inner, 3, groups=inner), last)))
        else:
            wider = _width(generator, multiple)
            layers += [_conv(width, width, 3, stride=1 + _draw(generator, 2), groups=width), _conv(width, wider, 1)]
            width = wider
    return _classifier(layers, width), _image(generator)


def transformer(generator: torch.Generator, multiple: int) -> tuple[nn.Module, torch.Tensor]:
    """Return a small vision transformer."""
    heads = 1 + _draw(generator, 4)
    width = heads * max(multiple, 4) * (1 + _draw(generator, max(48 // max(multiple, 4), 1)))
    layers: list[nn.Module] = [_Tokens(width, (4, 8)[_draw(generator, 2)])]
    layers += [_Attention(width, heads, 2 * _width(generator, multiple)) for _ in range(1 + _draw(generator, 3))]
    layers += [nn.LayerNorm(width), _Mean(), nn.Linear(width, 10)]
    return nn.Sequential(*layers).eval(), torch.zeros(1, 3, 32, 32)


def perceptron(generator: torch.Generator, multiple: int) -> tuple[nn.Module, torch.Tensor]:
    """Return linear layers one after the other."""
    width = inputs = 8 * (1 + _draw(generator, 64))
    layers: list[nn.Module] = []
    for _ in range(2 + _draw(generator, 4)):
        wider = 3 * _width(generator, multiple)
        layers += [nn.Linear(width, wider), nn.ReLU()]
        width = wider
    return nn.Sequential(*layers, nn.Linear(width, 10)).eval(), torch.zeros(1, inputs)


FAMILIES: Mapping[str, Callable[[torch.Generator, int], tuple[nn.Module, torch.Tensor]]] = {
    "plain": plain,
    "residual": residual,
    "separable": separable,
    "transformer": transformer,
    "perceptron": perceptron,
}


def diverse_networks(generator: torch.Generator, families: tuple[str, ...] = tuple(FAMILIES)) -> Iterator[Variant]:
    """Yield networks of the families in turn, without end: a third each of arbitrary widths, multiples of 8 and 16."""
    for number in count():
        family, step = families[number % len(families)], STEPS[(number // len(families)) % len(STEPS)]
        network, example_input = FAMILIES[family](generator, step)
        yield Variant(network, example_input, f"{family}{FAMILY_END}{step}")


def _classifier(layers: list[nn.Module], width: int) -> nn.Module:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)).eval()


def _image(generator: torch.Generator) -> torch.Tensor:
    size = _SIZES[_draw(generator, len(_SIZES))]
    return torch.zeros(1, 3, size, size)
