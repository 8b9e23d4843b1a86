"""What random networks are made of beside PyTorch's own layers: joins, gates, reshapes and small blocks.

Each is written as people write it, with sizes read from the input or kept as attributes, since that is what tracing
has to follow.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Join(nn.Module):
    """Two values of one shape become one, or two of equal size elsewhere are concatenated along the channels."""

    def __init__(self, how: str, dim: int) -> None:
        super().__init__()
        self.how, self.dim = how, dim

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return the two joined."""
        if self.how == "cat":
            return torch.cat((a, b), self.dim)
        joined = {"add": torch.add, "mul": torch.mul, "max": torch.maximum, "sub": torch.sub}
        return joined[self.how](a, b)


class Residual(nn.Module):
    """A shortcut around a body that keeps its input's shape."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x`` and what the body makes of it, added."""
        return x + self.body(x)


class SqueezeExcite(nn.Module):
    """Channels weighed by what all of them are on average; Hu et al., CVPR 2018."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return images of the shape given, ``(N, C, H, W)``."""
        return x * torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))


class Shuffle(nn.Module):
    """Channels of several groups interleaved, as in ShuffleNet."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return images of the shape given, ``(N, C, H, W)``."""
        n, c, h, w = x.shape
        return x.view(n, self.groups, c // self.groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class Gate(nn.Module):
    """A gated linear unit along the channels: half of them weighs the other half."""

    def __init__(self, dim: int, by: str) -> None:
        super().__init__()
        self.dim, self.by = dim, by

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return half as many channels."""
        if self.by == "glu":
            return F.glu(x, self.dim)
        if self.by == "split":
            a, b = x.split(x.shape[self.dim] // 2, self.dim)
        else:
            a, b = x.chunk(2, self.dim)
        return a * torch.sigmoid(b)


class FirstHalf(nn.Module):
    """The first half of the channels, as cross-stage networks take it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return images ``(N, C // 2, H, W)``."""
        return x[:, : x.shape[1] // 2]


class PadChannels(nn.Module):
    """Channels of zeros beside those given: the shortcut of the first CIFAR ResNets."""

    def __init__(self, more: int) -> None:
        super().__init__()
        self.more = more

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return images with ``more`` channels of zeros before and after."""
        return F.pad(x, (0, 0, 0, 0, self.more, self.more))


class Lambda(nn.Module):
    """An operation without weights, by its name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the operation makes of ``x``."""
        return OPERATIONS[self.name](x)


OPERATIONS = {
    "mean": lambda x: x.mean((2, 3)),
    "peak": lambda x: x.amax((2, 3)),
    "flatten": lambda x: x.flatten(1),
    "tokens": lambda x: x.flatten(2).transpose(1, 2),
    "token_mean": lambda x: x.mean(1),
    "last_token": lambda x: x[:, -1],
    "token_peak": lambda x: x.max(1).values,
    "upsample": lambda x: F.interpolate(x, scale_factor=2.0),
    "tanh": torch.tanh,
    "square": lambda x: x * x,
    "normalize": lambda x: F.normalize(x, dim=-1),
    "softmax": lambda x: x.softmax(1),
    "shift": lambda x: torch.roll(x, 1, -1),
    "half_sum": lambda x: x + x.mean(1, keepdim=True),
}


class First(nn.Module):
    """The first of what a layer returns, such as a recurrent layer's outputs."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's first result."""
        return self.layer(x)[0]


class SelfAttention(nn.Module):
    """PyTorch's attention of a sequence to itself."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return sequences of the shape given, ``(N, L, C)``."""
        return self.attention(x, x, x, need_weights=False)[0]


class WrittenAttention(nn.Module):
    """Attention as most repositories write it: one layer for queries, keys and values, heads by reshaping."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return sequences of the shape given, ``(N, L, C)``."""
        n, length, c = x.shape
        q, k, v = self.qkv(x).reshape(n, length, 3, self.num_heads, c // self.num_heads).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(n, length, c))


class TokenMixing(nn.Module):
    """A layer across positions, as in MLP-Mixer."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.mix = nn.Linear(length, length)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return sequences of the shape given, ``(N, L, C)``."""
        return self.mix(x.transpose(1, 2)).transpose(1, 2)


class Convolution1d(nn.Module):
    """A convolution along a sequence."""

    def __init__(self, width: int, out: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, out, 3, padding=1, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return sequences ``(N, L, out)``."""
        return self.conv(x.transpose(1, 2)).transpose(1, 2)


class Scale(nn.Module):
    """One learned factor for each channel, a bare parameter."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.gamma = nn.Parameter(1 + 0.1 * torch.randn(shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x`` scaled."""
        return x * self.gamma
