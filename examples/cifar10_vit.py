"""The task ``cifar10-vit``: a small Vision Transformer on CIFAR-10, which this example trains itself.

It needs a data folder with CIFAR-10 only; see :mod:`~espalier.examples.cifar10_data` for the forms it may have. Trained
on the JPEG copies, its accuracies on validation and test were 72.7 and 73.2 %.
"""

from __future__ import annotations

import functools
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..evaluators.data import batches, fingerprint_of_data
from ..evaluators.task import Task
from . import cifar10
from .cache import cache_folder, cached_weights, digest
from .cifar10_data import Images, data_folder, load, split, weights_file
from .cifar10_vit_network import VisionTransformer
from .cifar10_vit_training import Recipe, train

WEIGHTS = "vit_cifar10.safetensors"


def task(data: Path | None = None) -> Task:
    """Return the task ``cifar10-vit``; nothing is trained before its network is asked for.

    Args:
        data: the data folder; by default as :func:`~espalier.examples.cifar10_data.data_folder` finds it.
    """
    training, validation, test = split(data_folder(data))
    return Task(
        name="cifar10-vit",
        model=functools.partial(trained_network, data),
        example_input=torch.zeros(1, 3, 32, 32),
        train=training,
        validation=validation,
        test=test,
        loss=F.cross_entropy,
        metric="accuracy",
        augment=cifar10.augment,
        batch_size=128,
        # 5,000 samples cost the dense network 1.9 points of validation accuracy; at 0.02 they cost 3.7, at 0.005 1.5.
        learning_rate=0.01,
    )


def trained_network(data: Path | None = None, recipe: Recipe | None = None) -> nn.Module:
    """Return the trained network in eval mode.

    Its weights are those of ``vit_cifar10.safetensors`` in a data folder, else those in the cache folder. Where there
    are none they are trained, which takes about 22 minutes on one core with AMX, and cached. Killed while training,
    the next call goes on after the last whole epoch.

    Raises:
        TaskError: there is no CIFAR-10, or the data folder's weights are torn or of another network.
    """
    given = weights_file(WEIGHTS, data)
    if given.is_file():
        return cifar10.trained_network(VisionTransformer, given)
    network = VisionTransformer()
    like = network.state_dict()
    recipe, images = recipe or Recipe(), load(data_folder(data), "train")
    shapes = {name: list(tensor.shape) for name, tensor in like.items()}
    key = digest(
        {"recipe": asdict(recipe), "network": shapes, "data": fingerprint_of_data(batches(images, name="train"))}
    )
    checkpoint = cache_folder() / f"cifar10-vit-{key}.training.safetensors"
    weights = cached_weights(
        f"cifar10-vit-{key}.safetensors", lambda: _trained(recipe, images, checkpoint).state_dict(), like=like
    )
    with suppress(OSError):
        checkpoint.unlink()
    network.load_state_dict(weights)
    return network.eval()


def _trained(recipe: Recipe, images: Images, checkpoint: Path) -> nn.Module:
    _say(
        f"training the network, once; it is kept in {checkpoint.parent}. About 22 minutes on one core with AMX; "
        "if stopped, the next start goes on after the last whole epoch."
    )
    return train(recipe, images, checkpoint, _say)


def _say(line: str) -> None:
    print(f"cifar10-vit: {line}", file=sys.stderr, flush=True)
