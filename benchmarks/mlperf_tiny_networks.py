"""The four networks of MLPerf Tiny, by the names its results give them. Weights are random: only kernels matter here.

Banbury et al., "MLPerf Tiny benchmark", NeurIPS 2021 data sets and benchmarks; github.com/mlcommons/tiny.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def _separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(_conv(inputs, inputs, 3, stride, groups=inputs), _conv(inputs, outputs, 1))


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _conv(inputs, outputs, 3, stride)
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs))
        self.short = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.second(self.first(x)) + self.short(x))


def resnet8() -> nn.Module:
    """Return the image classifier: 3x32x32 to 10 classes."""
    body = (_conv(3, 16, 3), _Residual(16, 16, 1), _Residual(16, 32, 2), _Residual(32, 64, 2))
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def ds_cnn() -> nn.Module:
    """Return the keyword spotter: 1x49x10 features to 12 words, through 25x5 maps of 64 channels."""
    stem = nn.Sequential(nn.Conv2d(1, 64, (10, 4), 2, padding=(5, 1)), nn.BatchNorm2d(64), nn.ReLU())
    body = (_separable(64, 64) for _ in range(4))
    return nn.Sequential(stem, *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 12))


def mobilenet() -> nn.Module:
    """Return the person detector: MobileNetV1 of width 0.25, 3x96x96 to 2 classes."""
    plan = ((8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), *((128, 128, 1),) * 5)
    blocks = (_separable(i, o, s) for i, o, s in (*plan, (128, 256, 2), (256, 256, 1)))
    return nn.Sequential(_conv(3, 8, 3, 2), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 2))


def autoencoder() -> nn.Module:
    """Return the anomaly detector: 640 features through 128 x 4, 8, 128 x 4 back to 640."""
    widths = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(128, 640))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "ic": (resnet8, (1, 3, 32, 32)),
    "kws": (ds_cnn, (1, 1, 49, 10)),
    "vww": (mobilenet, (1, 3, 96, 96)),
    "ad": (autoencoder, (1, 640)),
}
"""Builder and input shape, by benchmark."""
