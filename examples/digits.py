"""The task ``digits``: scikit-learn's embedded 8x8 digits and a small CNN that trains in seconds.

Data: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998
(https://doi.org/10.24432/C50P49, CC BY 4.0), its 1,797 test digits as scikit-learn ships them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from ..evaluators.task.task import Task
from .augment import shift
from .cache import cached_weights, digest
from .digits_network import DigitsNet

TRAIN, VALIDATION = 1000, 397
"""Sizes of the first two parts; the test part is the remaining 400."""


@dataclass(frozen=True)
class Recipe:
    """How the dense network is trained: SGD with Nesterov momentum and a one-cycle learning rate."""

    epochs: int = 12
    batch_size: int = 50
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    shift_pixels: int = 1
    seed: int = 0
    revision: int = 1
    """Raised whenever training or the forward pass changes in a way that the other fields do not show."""


def task(data: Path | None = None) -> Task:
    """Return the task ``digits``.

    Args:
        data: not used; the digits are part of scikit-learn.
    """
    train, validation, test = split()
    return Task(
        name="digits",
        model=trained_network,
        example_input=torch.zeros(1, 1, 8, 8),
        train=train,
        validation=validation,
        test=test,
        loss=F.cross_entropy,
        metric="accuracy",
        augment=augment,
        batch_size=32,
        learning_rate=0.03,
    )


def split() -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
    """Return 1,000 training, 397 validation and 400 test digits, shuffled once with a fixed seed.

    Each part is a pair of images ``(N, 1, 8, 8)`` in [0, 1] and labels ``(N,)``.
    """
    pixels, targets = load_digits(return_X_y=True)
    images = torch.as_tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    labels = torch.as_tensor(targets, dtype=torch.int64)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    sizes = (TRAIN, VALIDATION, len(labels) - TRAIN - VALIDATION)
    return tuple((images[part], labels[part]) for part in order.split(sizes))


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Move each digit by up to one pixel."""
    return shift(images, generator, pixels=Recipe.shift_pixels)


def trained_network(recipe: Recipe | None = None) -> nn.Module:
    """Return the trained network in eval mode.

    The first call trains it, which takes about 7 s on two cores, and keeps its weights in the cache folder.
    """
    recipe = recipe or Recipe()
    network = DigitsNet()
    shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    key = digest({"recipe": asdict(recipe), "network": shapes})
    weights = cached_weights(f"digits-{key}.safetensors", lambda: train(recipe).state_dict(), like=network.state_dict())
    network.load_state_dict(weights)
    return network.eval()


def train(recipe: Recipe) -> nn.Module:
    """Train a fresh network on the training part, drawing everything from ``recipe.seed``."""
    images, labels = split()[0]
    generator = torch.Generator().manual_seed(recipe.seed)
    network = _initialised(recipe.seed)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=True,
    )
    batches = [
        batch
        for _ in range(recipe.epochs)
        for batch in torch.randperm(len(labels), generator=generator).split(recipe.batch_size)
    ]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=len(batches))
    network.train()
    for batch in batches:
        logits = network(shift(images[batch], generator, pixels=recipe.shift_pixels))
        optimizer.zero_grad()
        F.cross_entropy(logits, labels[batch]).backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def _initialised(seed: int) -> nn.Module:
    """Build a network from ``seed``; layers draw from torch's global generator, whose state is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DigitsNet()
