"""Small networks, each with one thing that is hard to prune."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Residual(nn.Module):
    """An identity shortcut, a projected one, a depthwise convolution and a flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.stem_bn = nn.BatchNorm2d(8)
        self.inner = nn.Conv2d(8, 12, 3, padding=1, bias=False)
        self.inner_bn = nn.BatchNorm2d(12)
        self.outer = nn.Conv2d(12, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.down = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.shortcut = nn.Conv2d(8, 16, 1, stride=2)
        self.head = nn.Linear(16 * 4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem_bn(self.stem(x)))
        x = F.relu(x + self.outer(F.silu(self.inner_bn(self.inner(x)))))
        x = torch.sigmoid(self.depthwise(x))
        x = self.down(x) + self.shortcut(x)
        return self.head(F.adaptive_avg_pool2d(x, 2).flatten(1))


class Concatenated(nn.Module):
    """Two branches concatenated, one of them used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 6, 3, padding=1)
        self.right = nn.Conv2d(6, 10, 3, padding=1)
        self.merge_bn = nn.BatchNorm2d(16)
        self.merge = nn.Conv2d(16, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left = F.relu(self.left(x))
        x = self.merge_bn(torch.cat([left, F.relu(self.right(left))], dim=1))
        return self.head(self.merge(x).mean((2, 3)))


class PaddedBlock(nn.Module):
    """A residual block whose shortcut pads channels with zeros (He et al. 2015, option A)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.padding = (outputs - inputs) // 2
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.padding, self.padding))
        return F.relu(out + x)


class ZeroPadded(nn.Module):
    """Three widths joined by zero-padded shortcuts."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.layer1 = PaddedBlock(8, 8, 1)
        self.layer2 = PaddedBlock(8, 16, 2)
        self.layer3 = PaddedBlock(16, 32, 2)
        self.head = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer3(self.layer2(self.layer1(F.relu(self.stem(x)))))
        return self.head(x.mean((2, 3)))


class Perceptron(nn.Module):
    """Linear layers, with a normalisation across features."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 24)
        self.norm = nn.LayerNorm(24)
        self.second = nn.Linear(24, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.norm(self.first(x)))
        return self.head(F.gelu(self.second(x)))


class SelfReshaping(nn.Module):
    """Reshapes by a number written into the forward pass, so that its first layer cannot be pruned."""

    def __init__(self) -> None:
        super().__init__()
        self.fixed = nn.Conv2d(3, 8, 3, padding=1)
        self.free = nn.Conv2d(4, 6, 3, padding=1)
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.fixed(x)
        x = x.reshape(-1, 2, 4, x.shape[2], x.shape[3]).sum(1)
        return self.head(F.relu(self.free(x)).mean((2, 3)))


def seeded(build: type[nn.Module], seed: int = 0) -> nn.Module:
    """Return a network with random weights and random BatchNorm statistics."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias)
                nn.init.normal_(module.running_mean)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


INPUTS = {
    Residual: torch.zeros(1, 3, 8, 8),
    Concatenated: torch.zeros(1, 3, 8, 8),
    ZeroPadded: torch.zeros(1, 3, 8, 8),
    Perceptron: torch.zeros(1, 8),
    SelfReshaping: torch.zeros(1, 3, 8, 8),
}
