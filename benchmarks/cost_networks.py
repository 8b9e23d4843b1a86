"""The networks whose costs are told by ``cost_models.py``: residual, depthwise separable, transformer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from espalier.evaluators.task.task import Inputs
from espalier.evaluators.task.task_loading import load_task


def _task(name: str) -> tuple[nn.Module, Inputs]:
    task = load_task(name)
    return task.model().eval(), task.example_input


def _conv(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, active: bool = True
) -> nn.Module:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), *([nn.ReLU6()] if active else []))


class _Inverted(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        inner = 4 * inputs
        depthwise = _conv(inner, inner, 3, stride=stride, groups=inner)
        self.body = nn.Sequential(_conv(inputs, inner, 1), depthwise, _conv(inner, outputs, 1, active=False))
        self.same = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x) if self.same else self.body(x)


def mobilenet() -> tuple[nn.Module, Inputs]:
    """Return a MobileNetV2-like network for 32x32 images."""
    torch.manual_seed(0)
    widths = ((32, 24, 1), (24, 24, 1), (24, 40, 2), (40, 40, 1), (40, 64, 2), (64, 64, 1))
    blocks = [_Inverted(*width) for width in widths]
    head = [_conv(64, 128, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)]
    return nn.Sequential(_conv(3, 32, 3), *blocks, *head).eval(), torch.zeros(1, 3, 32, 32)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, _ = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.proj(mixed.transpose(1, 2).reshape(batch, tokens, -1))
        return x + self.mlp(self.norm2(x))


class _Vit(nn.Module):
    def __init__(self, width: int = 96, heads: int = 4, depth: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.positions = nn.Parameter(0.1 * torch.randn(1, 64, width))
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.norm(self.blocks(tokens)).mean(1))


def vit() -> tuple[nn.Module, Inputs]:
    """Return a small vision transformer for 32x32 images."""
    torch.manual_seed(0)
    return _Vit().eval(), torch.zeros(1, 3, 32, 32)


NETWORKS: dict[str, Callable[[], tuple[nn.Module, Inputs]]] = {
    "resnet8": lambda: _task("cifar10-resnet8"),
    "resnet20": lambda: _task("cifar10-resnet20"),
    "mobilenet": mobilenet,
    "vit": vit,
}
