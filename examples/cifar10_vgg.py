"""The task ``cifar10-vgg``: a small plain CNN on CIFAR-10, which this example trains itself.

Convolutions of 3x3 with BatchNorm, one after the other, without a shortcut anywhere (Simonyan and Zisserman, "Very Deep
Convolutional Networks for Large-Scale Image Recognition", ICLR 2015, arXiv:1409.1556): there is nothing to prune but
channels. It needs a data folder with CIFAR-10 only; see :mod:`~espalier.examples.cifar10_data`. Trained on the
JPEG copies, its accuracies on validation and test were 81.8 and 80.5 %.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..evaluators.task.task import Task
from .cifar10_self_trained import SelfTrained
from .cifar10_training import Recipe

WIDTHS = (32, 32, 64, 64, 128, 128)


class VGG(nn.Module):
    """Images ``(N, 3, 32, 32)``, 0 to 255, to logits ``(N, 10)``.

    Args:
        widths: channels of each convolution; after every second one the image is halved.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairwise((3, *widths)))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        self.head = nn.Linear(widths[-1], 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of each class."""
        x = (x - 127.5) / 64
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = F.relu(norm(conv(x)))
            if i % 2:
                x = F.max_pool2d(x, 2)
        return self.head(x.mean((2, 3)))


NETWORK = SelfTrained("cifar10-vgg", VGG, "vgg_cifar10.safetensors", minutes=8, recipe=Recipe(epochs=6))


def task(data: Path | None = None) -> Task:
    """Return the task ``cifar10-vgg``; ``data`` as in :meth:`~.cifar10_self_trained.SelfTrained.task`."""
    return NETWORK.task(data, learning_rate=0.02)
