"""Trains a network on CIFAR-10 from nothing, in epochs that a kill can stand between.

AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, arXiv:1711.05101) with a one-cycle
learning rate and label smoothing (Szegedy et al., arXiv:1512.00567); in bfloat16 where the processor gains from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ..evaluators.training.mixed_precision import MixedPrecision
from ..evaluators.training.schedules import SCHEDULES, factor
from .augment import flip, shift
from .cache import store
from .cifar10_data import Images


@dataclass(frozen=True)
class Recipe:
    """How the dense network is trained."""

    epochs: int = 12
    batch_size: int = 128
    learning_rate: float = 2e-3
    """Peak of the one-cycle schedule."""
    weight_decay: float = 0.05
    """Of matrices and kernels only."""
    label_smoothing: float = 0.1
    gradient_norm: float = 1.0
    shift_pixels: int = 4
    seed: int = 0
    revision: int = 1
    """Raised whenever training or the forward pass changes in a way that the other fields do not show."""


Build = Callable[[], nn.Module]


def train(build: Build, recipe: Recipe, data: Images, checkpoint: Path, report: Callable[[str], None]) -> nn.Module:
    """Return a network trained on ``data``, going on from ``checkpoint`` where there is one.

    Each epoch draws from a seed of its own, so that training that was killed and went on ends with the same weights as
    training that was not.

    Args:
        build: makes the network, with weights drawn at random.
        recipe: how.
        data: training images and labels.
        checkpoint: a safetensors file, renewed whole after each epoch; of the same network, recipe and data.
        report: takes a line after each epoch.
    """
    network = initialised(build, recipe.seed)
    optimizer = _optimizer(network, recipe)
    first = _resume(network, optimizer, checkpoint)
    for epoch in range(first, recipe.epochs):
        started = time.monotonic()
        loss = _train_epoch(network, optimizer, recipe, data, epoch)
        seconds = time.monotonic() - started
        _keep(network, optimizer, checkpoint, epoch + 1)
        left = seconds * (recipe.epochs - epoch - 1) / 60
        report(f"epoch {epoch + 1} of {recipe.epochs}: loss {loss:.3f}, {seconds:.0f} s; about {left:.0f} min left")
    return network.eval()


def initialised(build: Build, seed: int) -> nn.Module:
    """Call ``build`` under ``seed``; layers draw from torch's global generator, whose state is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    matrices = [p for p in network.parameters() if p.dim() in (2, 4)]
    others = [p for p in network.parameters() if p.dim() not in (2, 4)]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)


def _train_epoch(
    network: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe, data: Images, epoch: int
) -> float:
    """Train for one epoch and return its mean loss."""
    images, labels = data
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + epoch)
    batches = torch.randperm(len(labels), generator=generator).split(recipe.batch_size)
    forward = MixedPrecision(network.train())
    total = 0.0
    for i, batch in enumerate(batches):
        rate = factor(SCHEDULES.get("cosine"), epoch * len(batches) + i, recipe.epochs * len(batches))
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * rate
        moved = shift(flip(images[batch], generator), generator, pixels=recipe.shift_pixels)
        loss = F.cross_entropy(forward(moved.float()), labels[batch], label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), recipe.gradient_norm)
        optimizer.step()
        total += float(loss.detach()) * len(batch)
    return total / len(labels)


def _keep(network: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Path, epochs: int) -> None:
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer.{number}.{name}": tensor for name, tensor in state.items()})
    tensors["epochs"] = torch.tensor(epochs)
    store(checkpoint, lambda temporary: save_file({n: t.contiguous() for n, t in tensors.items()}, temporary))


def _resume(network: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Path) -> int:
    """Load what ``checkpoint`` holds and return how many epochs it stands for; 0 where there is none."""
    with suppress(OSError, SafetensorError):
        tensors = load_file(checkpoint)
        network.load_state_dict(_under("network.", tensors.items()))
        stored = optimizer.state_dict()
        for name, tensor in _under("optimizer.", tensors.items()).items():
            number, _, key = name.partition(".")
            stored["state"].setdefault(int(number), {})[key] = tensor
        optimizer.load_state_dict(stored)
        return int(tensors["epochs"])
    return 0


def _under(prefix: str, tensors: Iterable[tuple[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors if name.startswith(prefix)}
