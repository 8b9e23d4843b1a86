"""A small network for 8x8 digits with every kind of channel coupling that a CNN usually has.

Residual streams tie the outputs of several convolutions together, a depthwise convolution ties its output to its input,
and a concatenation shifts the channels of its second half.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Residual(nn.Module):
    """Two 3x3 convolutions beside an identity shortcut: ``(N, channels, H, W)`` to the same shape."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, inner, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output, of the shape of ``x``."""
        inner = F.relu(self.bn1(self.conv1(x)))
        return F.relu(x + self.bn2(self.conv2(inner)))


class Downsample(nn.Module):
    """Halves the resolution on two paths, one of them depthwise separable, and concatenates them.

    ``(N, channels, H, W)`` to ``(N, out, H / 2, W / 2)``.
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        half = out // 2
        self.conv = nn.Conv2d(channels, half, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(half)
        self.depthwise = nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels, bias=False)
        self.depthwise_bn = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, half, 1, bias=False)
        self.pointwise_bn = nn.BatchNorm2d(half)
        self.merge = nn.Conv2d(2 * half, out, 1, bias=False)
        self.merge_bn = nn.BatchNorm2d(out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x`` at half its resolution."""
        full = F.relu(self.bn(self.conv(x)))
        separable = F.relu(self.depthwise_bn(self.depthwise(x)))
        separable = F.relu(self.pointwise_bn(self.pointwise(separable)))
        return F.relu(self.merge_bn(self.merge(torch.cat((full, separable), dim=1))))


class DigitsNet(nn.Module):
    """Digits ``(N, 1, 8, 8)``, scaled to [0, 1], to logits ``(N, 10)``; 11.2 M MACs, 450,442 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 48, 3, padding=1, bias=False)
        self.stem_bn = nn.BatchNorm2d(48)
        self.block1 = Residual(48, 96)
        self.down = Downsample(48, 96)
        self.block2 = Residual(96, 96)
        self.block3 = Residual(96, 96)
        self.head = nn.Linear(96, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of each digit."""
        x = F.relu(self.stem_bn(self.stem(x)))
        x = self.block3(self.block2(self.down(self.block1(x))))
        return self.head(x.mean(dim=(2, 3)))
