"""Networks on CIFAR-10 that the examples train themselves, once, and keep."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn

from ..evaluators.task.data import batches, fingerprint_of_data
from ..evaluators.task.task import Task
from .cache import cache_folder, cached_weights, digest
from .cifar10 import cifar10_task, trained_network
from .cifar10_data import Images, data_folder, load, weights_file
from .cifar10_training import Recipe, train


@dataclass(frozen=True)
class SelfTrained:
    """A network, and where its weights are found.

    Args:
        name: of its task.
        build: makes the network, with weights drawn at random.
        weights: name of a file of weights in a data folder; it comes before the cache.
        minutes: about how long the training takes on one core with AMX.
        recipe: how it is trained.
    """

    name: str
    build: Callable[[], nn.Module]
    weights: str
    minutes: int
    recipe: Recipe = field(default_factory=Recipe)

    def task(self, data: Path | None, *, learning_rate: float | None) -> Task:
        """Return its task; nothing is trained before its network is asked for.

        Args:
            data: the data folder; by default as :func:`~espalier.examples.cifar10_data.data_folder` finds it.
            learning_rate: of fine-tuning; ``None`` for the optimiser's default.
        """
        return cifar10_task(self.name, functools.partial(self.network, data), data, learning_rate=learning_rate)

    def network(self, data: Path | None = None, recipe: Recipe | None = None) -> nn.Module:
        """Return the trained network in eval mode.

        Its weights are those of a file in a data folder, else those in the cache folder. Where there are none they are
        trained and cached. Killed while training, the next call goes on after the last whole epoch.

        Raises:
            TaskError: there is no CIFAR-10, or the data folder's weights are torn or of another network.
        """
        given = weights_file(self.weights, data)
        if given.is_file():
            return trained_network(self.build, given)
        network = self.build()
        like = network.state_dict()
        recipe, images = recipe or self.recipe, load(data_folder(data), "train")
        key = self._key(recipe, like, images)
        checkpoint = cache_folder() / f"{self.name}-{key}.training.safetensors"
        weights = cached_weights(
            f"{self.name}-{key}.safetensors", lambda: self._trained(recipe, images, checkpoint).state_dict(), like=like
        )
        with suppress(OSError):
            checkpoint.unlink()
        network.load_state_dict(weights)
        return network.eval()

    def _key(self, recipe: Recipe, like: dict[str, torch.Tensor], images: Images) -> str:
        shapes = {name: list(tensor.shape) for name, tensor in like.items()}
        data = fingerprint_of_data(batches(images, name="train"))
        return digest({"recipe": asdict(recipe), "network": shapes, "data": data})

    def _trained(self, recipe: Recipe, images: Images, checkpoint: Path) -> nn.Module:
        self._say(
            f"training the network, once; it is kept in {checkpoint.parent}. About {self.minutes} minutes on one core "
            "with AMX; if stopped, the next start goes on after the last whole epoch."
        )
        return train(self.build, recipe, images, checkpoint, self._say)

    def _say(self, line: str) -> None:
        print(f"{self.name}: {line}", file=sys.stderr, flush=True)
