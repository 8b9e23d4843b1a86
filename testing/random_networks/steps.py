"""The steps that a random network may take from a value of each kind: images, sequences and vectors."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from torch import nn

from . import layers

Shape = tuple[int, ...]
"""Without the batch: ``(C, H, W)`` of images, ``(L, C)`` of sequences, ``(C,)`` of vectors."""
Maker = Callable[[Random, Shape], nn.Module | None]
"""A layer for a value of a shape, or ``None`` where there is none."""

WIDTHS = (4, 6, 8, 12, 16)


def steps_for(shape: Shape) -> tuple[Maker, ...]:
    """Return the makers of what may follow a value of this shape; those that are listed twice come twice as often."""
    return {3: _IMAGE, 2: _SEQUENCE, 1: _VECTOR}[len(shape)]


def _divisor(draw: Random, number: int) -> int:
    return draw.choice([d for d in (1, 2, 3, 4, 6, 8) if number % d == 0])


def _conv(draw: Random, shape: Shape) -> nn.Module:
    c, h, _ = shape
    out, kernel = draw.choice(WIDTHS), draw.choice((1, 3, 3))
    groups = draw.choice([1, 1, 1, *(d for d in (2, 4) if c % d == 0 and out % d == 0)])
    stride = draw.choice((1, 1, 2)) if h >= 4 else 1
    return nn.Conv2d(c, out, kernel, stride, kernel // 2, groups=groups, bias=draw.random() < 0.5)


def _depthwise(draw: Random, shape: Shape) -> nn.Module:
    c = shape[0]
    return nn.Conv2d(c, c * draw.choice((1, 1, 2)), 3, padding=1, groups=c)


def _transposed(draw: Random, shape: Shape) -> nn.Module | None:
    c, h, _ = shape
    out = draw.choice(WIDTHS)
    groups = draw.choice([1, *(d for d in (2, 4) if c % d == 0 and out % d == 0)])
    return nn.ConvTranspose2d(c, out, 2, 2, groups=groups) if h <= 8 else None


def _image_norm(draw: Random, shape: Shape) -> nn.Module:
    c = shape[0]
    return draw.choice(
        (nn.BatchNorm2d(c), nn.BatchNorm2d(c), nn.GroupNorm(_divisor(draw, c), c), nn.InstanceNorm2d(c, affine=True))
    )


def _activation(draw: Random, shape: Shape) -> nn.Module:
    known = (nn.ReLU(), nn.ReLU(inplace=True), nn.SiLU(), nn.GELU(), nn.Hardswish(), nn.Sigmoid(), nn.LeakyReLU(0.1))
    return draw.choice((*known, nn.PReLU(shape[0] if len(shape) == 3 else 1), layers.Lambda("square")))


def _pool(draw: Random, shape: Shape) -> nn.Module | None:
    if shape[1] < 4:
        return None
    return draw.choice((nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(shape[1] // 2)))


def _squeeze(draw: Random, shape: Shape) -> nn.Module:
    return layers.SqueezeExcite(shape[0], draw.choice(WIDTHS))


def _shuffle(draw: Random, shape: Shape) -> nn.Module:
    return layers.Shuffle(_divisor(draw, shape[0]))


def _gate(draw: Random, shape: Shape) -> nn.Module | None:
    channels, dim = (shape[0], 1) if len(shape) == 3 else (shape[-1], len(shape))
    return layers.Gate(dim, draw.choice(("glu", "split", "chunk"))) if channels % 2 == 0 and channels > 2 else None


def _half(_draw: Random, shape: Shape) -> nn.Module | None:
    return layers.FirstHalf() if shape[0] >= 4 and shape[0] % 2 == 0 else None


def _pad(draw: Random, shape: Shape) -> nn.Module | None:
    return layers.PadChannels(draw.choice((1, 2))) if shape[0] <= 16 else None


def _pixel_shuffle(_draw: Random, shape: Shape) -> nn.Module | None:
    return nn.PixelShuffle(2) if shape[0] % 4 == 0 and shape[1] <= 8 else None


def _image_block(draw: Random, shape: Shape) -> nn.Module:
    c, inner = shape[0], draw.choice(WIDTHS)
    if draw.random() < 0.5:
        body = (nn.Conv2d(c, inner, 3, padding=1), nn.BatchNorm2d(inner), nn.ReLU(), nn.Conv2d(inner, c, 3, padding=1))
    else:
        depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        body = (nn.Conv2d(c, inner, 1), nn.ReLU6(), depthwise, nn.ReLU6(), nn.Conv2d(inner, c, 1), nn.BatchNorm2d(c))
    return layers.Residual(nn.Sequential(*body))


def _image_scale(_draw: Random, shape: Shape) -> nn.Module:
    return layers.Scale((shape[0], 1, 1))


def _image_change(draw: Random, shape: Shape) -> nn.Module | None:
    if draw.random() < 0.3:
        return layers.Lambda("upsample") if shape[1] <= 8 else None
    if draw.random() < 0.4:
        return layers.Lambda("tokens")
    if draw.random() < 0.3:
        return layers.Lambda("flatten") if shape[1] <= 4 else None
    return layers.Lambda(draw.choice(("mean", "peak")))


def _channel_mix(draw: Random, _shape: Shape) -> nn.Module:
    return layers.Lambda(draw.choice(("softmax", "half_sum", "tanh", "shift")))


def _linear(draw: Random, shape: Shape) -> nn.Module:
    return nn.Linear(shape[-1], draw.choice(WIDTHS), bias=draw.random() < 0.7)


def _layer_norm(_draw: Random, shape: Shape) -> nn.Module:
    return nn.LayerNorm(shape[-1])


def _attention(draw: Random, shape: Shape) -> nn.Module:
    made = draw.choice((layers.SelfAttention, layers.WrittenAttention))
    return made(shape[-1], _divisor(draw, shape[-1]))


def _recurrent(draw: Random, shape: Shape) -> nn.Module:
    made = draw.choice((nn.GRU, nn.LSTM))
    bidirectional = draw.random() < 0.3
    return layers.First(made(shape[-1], draw.choice((4, 6, 8)), batch_first=True, bidirectional=bidirectional))


def _sequence_block(draw: Random, shape: Shape) -> nn.Module:
    c, inner = shape[-1], draw.choice(WIDTHS)
    if draw.random() < 0.5:
        return layers.Residual(nn.Sequential(nn.LayerNorm(c), layers.WrittenAttention(c, _divisor(draw, c))))
    return layers.Residual(nn.Sequential(nn.LayerNorm(c), nn.Linear(c, inner), nn.GELU(), nn.Linear(inner, c)))


def _sequence_conv(draw: Random, shape: Shape) -> nn.Module:
    c, out = shape[-1], draw.choice(WIDTHS)
    groups = draw.choice([1, 1, *(d for d in (2, 4) if c % d == 0 and out % d == 0)])
    return layers.Convolution1d(c, out, groups)


def _mixing(_draw: Random, shape: Shape) -> nn.Module:
    return layers.TokenMixing(shape[0])


def _sequence_end(draw: Random, _shape: Shape) -> nn.Module:
    return layers.Lambda(draw.choice(("token_mean", "last_token", "token_peak")))


def _last_scale(_draw: Random, shape: Shape) -> nn.Module:
    return layers.Scale((shape[-1],))


def _vector_norm(draw: Random, shape: Shape) -> nn.Module:
    return draw.choice((nn.BatchNorm1d(shape[-1]), nn.LayerNorm(shape[-1]), layers.Lambda("normalize")))


def _to_image(_draw: Random, shape: Shape) -> nn.Module | None:
    return nn.Unflatten(1, (shape[0] // 4, 2, 2)) if shape[0] % 4 == 0 and shape[0] >= 8 else None


_IMAGE: tuple[Maker, ...] = (
    _conv, _conv, _conv, _depthwise, _transposed, _image_norm, _image_norm, _activation, _activation, _pool, _squeeze,
    _shuffle, _gate, _half, _pad, _pixel_shuffle, _image_block, _image_block, _image_scale, _image_change, _channel_mix,
)  # fmt: skip
_SEQUENCE: tuple[Maker, ...] = (
    _linear, _linear, _layer_norm, _attention, _attention, _recurrent, _sequence_block, _sequence_block, _sequence_conv,
    _mixing, _activation, _gate, _last_scale, _sequence_end,
)  # fmt: skip
_VECTOR: tuple[Maker, ...] = (_linear, _linear, _activation, _vector_norm, _gate, _last_scale, _to_image)
