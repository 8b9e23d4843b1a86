"""Random changes to batches of training images, whole batches at a time."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def shift(images: torch.Tensor, generator: torch.Generator, *, pixels: int) -> torch.Tensor:
    """Move each image by up to ``pixels`` in both directions, filling with zeros.

    Args:
        images: ``(N, C, H, W)``, of any type.
        generator: where the offsets are drawn from.
        pixels: greatest offset.
    """
    n, _, height, width = images.shape
    padded = F.pad(images, (pixels,) * 4)
    offsets = torch.randint(0, 2 * pixels + 1, (2, n, 1), generator=generator)
    rows = (offsets[0] + torch.arange(height))[:, None, :, None]
    columns = (offsets[1] + torch.arange(width))[:, None, None, :]
    samples = torch.arange(n)[:, None, None, None]
    channels = torch.arange(images.shape[1])[None, :, None, None]
    return padded[samples, channels, rows, columns]


def flip(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror each image of ``(N, C, H, W)`` from left to right with probability one half."""
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)
