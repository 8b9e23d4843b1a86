"""The CIFAR-10 networks whose trained weights the data folder holds; both take raw pixels, 0 to 255.

ResNet-8: MLPerf Tiny's image classification network (Banbury et al., "MLPerf Tiny Benchmark", NeurIPS 2021,
arXiv:2106.07597). ResNet-20: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv:1512.03385,
with the zero-padded shortcuts of its section 4.2 (option A).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
"""ImageNet's, as the published ResNet-20 weights were trained with."""


class ResNet8Block(nn.Module):
    """Two 3x3 convolutions; at stride 2 beside a 1x1 convolution, else beside an identity shortcut."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(channels, out, 3, stride=stride, padding=1 if stride == 1 else 0)
        self.bn1 = nn.BatchNorm2d(out, eps=1e-3)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(out, eps=1e-3)
        self.short = nn.Identity() if stride == 1 else nn.Conv2d(channels, out, 1, stride=stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(N, out, H / stride, W / stride)``."""
        # The weights come from TensorFlow, whose "same" padding at stride 2 is on the right and bottom only.
        padded = x if self.stride == 1 else F.pad(x, (0, 1, 0, 1))
        inner = F.relu(self.bn1(self.conv1(padded)))
        return F.relu(self.bn2(self.conv2(inner)) + self.short(x))


class ResNet8(nn.Module):
    """Images ``(N, 3, 32, 32)``, 0 to 255, to logits ``(N, 10)``; 12.5 M MACs, 78,186 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.bn = nn.BatchNorm2d(16, eps=1e-3)
        self.b1 = ResNet8Block(16, 16, stride=1)
        self.b2 = ResNet8Block(16, 32, stride=2)
        self.b3 = ResNet8Block(32, 64, stride=2)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of each class."""
        x = F.relu(self.bn(self.conv(x)))
        x = self.b3(self.b2(self.b1(x)))
        return self.fc(x.mean(dim=(2, 3)))


class ResNet20Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut without weights: at stride 2 it subsamples and adds zero channels."""

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.padding = (planes - channels) // 2
        self.conv1 = nn.Conv2d(channels, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(N, planes, H / stride, W / stride)``."""
        inner = F.relu(self.bn1(self.conv1(x)))
        shortcut = x if self.stride == 1 else F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.padding, self.padding))
        return F.relu(self.bn2(self.conv2(inner)) + shortcut)


class ResNet20(nn.Module):
    """Images ``(N, 3, 32, 32)``, 0 to 255, to logits ``(N, 10)``; 41 M MACs, 269,722 parameters.

    The published network takes pixels/255 normalised by ImageNet's mean and standard deviation. That normalisation is
    the first step of ``forward`` here, so that images stay bytes in memory and an export takes raw pixels.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", _per_channel(_MEAN), persistent=False)
        self.register_buffer("std", _per_channel(_STD), persistent=False)
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16)
        self.layer2 = _stage(16, 32)
        self.layer3 = _stage(32, 64)
        self.linear = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of each class."""
        x = (x - self.mean) / self.std
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))


def _stage(channels: int, planes: int) -> nn.Sequential:
    first = ResNet20Block(channels, planes, stride=1 if channels == planes else 2)
    return nn.Sequential(first, *(ResNet20Block(planes, planes, stride=1) for _ in range(2)))


def _per_channel(values: Sequence[float]) -> torch.Tensor:
    """Return ``values`` for pixels of 0 to 255, shaped to broadcast over ``(N, 3, H, W)``."""
    return (torch.tensor(values, dtype=torch.float32) * 255).view(1, 3, 1, 1)
