"""A small Vision Transformer for CIFAR-10.

Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", ICLR 2021,
arXiv:2010.11929, normalised before each branch, with the mean of the tokens in place of a class token (Beyer et al.,
"Better plain ViT baselines for ImageNet-1k", arXiv:2205.01580) and two convolutions in place of one that cuts patches
(Xiao et al., "Early Convolutions Help Transformers See Better", NeurIPS 2021, arXiv:2106.14881).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

TOKENS = 64


class Attention(nn.Module):
    """Self-attention of several heads over ``(N, L, width)``; one layer makes queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_heads = heads
        self.head_dim = width // heads
        # A number of its own: attention that loses head dimensions is to weigh as the whole one did.
        self.scale = self.head_dim**-0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(N, L, width)``."""
        batch, length, _ = x.shape
        split = self.qkv(x).reshape(batch, length, 3, self.num_heads, self.head_dim)
        queries, keys, values = split.permute(2, 0, 3, 1, 4).unbind(0)
        # Written out: in bfloat16 the fused kernel's backward pass takes half of all the time of training on a CPU.
        weights = (queries @ keys.transpose(-2, -1) * self.scale).softmax(-1)
        return self.proj((weights @ values).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention, then a layer of neurons, each beside a shortcut."""

    def __init__(self, width: int, heads: int, neurons: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, neurons)
        self.fc2 = nn.Linear(neurons, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(N, L, width)``."""
        x = x + self.attention(self.norm1(x))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class VisionTransformer(nn.Module):
    """Images ``(N, 3, 32, 32)``, 0 to 255, to logits ``(N, 10)``; 64 tokens, one for every 4x4 pixels.

    Args:
        width: channels of each token, a multiple of ``heads``.
        depth: number of blocks.
        heads: of each attention.
        neurons: hidden ones of each block.
        stem: channels between the two convolutions.
    """

    def __init__(self, width: int = 128, depth: int = 4, heads: int = 4, neurons: int = 256, stem: int = 32) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, stem, 3, stride=2, padding=1)
        self.bn1 = nn.BatchNorm2d(stem)
        self.conv2 = nn.Conv2d(stem, width, 3, stride=2, padding=1)
        self.positions = nn.Parameter(torch.empty(1, TOKENS, width))
        self.blocks = nn.Sequential(*(Block(width, heads, neurons) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)
        nn.init.trunc_normal_(self.positions, std=0.02)
        for linear in (m for m in self.modules() if isinstance(m, nn.Linear)):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of each class."""
        x = self.conv2(F.relu(self.bn1(self.conv1((x - 127.5) / 64))))
        x = x.flatten(2).transpose(1, 2)
        # Positions take the tokens' type, or those would be fp32 in mixed precision, and every layer convert them.
        x = x + self.positions.to(x.dtype)
        return self.head(self.norm(self.blocks(x)).mean(1))
