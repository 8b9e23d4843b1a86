"""The tasks ``cifar10-resnet8`` and ``cifar10-resnet20``: published networks on CIFAR-10.

Both need a data folder with CIFAR-10 and the weights below; see :mod:`~espalier.examples.cifar10_data` for the forms it
may have. Weights: MLPerf Tiny's ResNet-8 (github.com/mlcommons/tiny, Apache-2.0) and a CIFAR ResNet-20
(github.com/akamaster/pytorch_resnet_cifar10, BSD-2), each fine-tuned briefly on the JPEG copies. Their accuracies on
validation and test are 83.1 and 82.7 %, and 87.5 and 87.9 %.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ..errors import TaskError, describe
from ..evaluators.task.task import Task
from .augment import flip, shift
from .cifar10_data import data_folder, split, weights_file
from .cifar10_networks import ResNet8, ResNet20

RESNET8_WEIGHTS = "resnet8_cifar10jpeg.safetensors"
RESNET20_WEIGHTS = "resnet20_cifar10jpeg.safetensors"


def resnet8_task(data: Path | None = None) -> Task:
    """Return the task ``cifar10-resnet8``.

    Args:
        data: the data folder; by default as :func:`~espalier.examples.cifar10_data.data_folder` finds it.
    """
    return _published("cifar10-resnet8", ResNet8, RESNET8_WEIGHTS, data)


def resnet20_task(data: Path | None = None) -> Task:
    """Return the task ``cifar10-resnet20``; ``data`` as in :func:`resnet8_task`."""
    return _published("cifar10-resnet20", ResNet20, RESNET20_WEIGHTS, data)


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror each image with probability one half and move it by up to four pixels, as is usual for CIFAR-10."""
    return shift(flip(images, generator), generator, pixels=4)


def trained_network(build: Callable[[], nn.Module], weights: Path) -> nn.Module:
    """Return the network with its published weights, in eval mode.

    Raises:
        TaskError: the weights are absent, torn or of another network.
    """
    network = build()
    try:
        network.load_state_dict(load_file(weights))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise TaskError(
            describe(
                f"{weights} cannot be loaded ({' '.join(str(error).split())[:200]})",
                expected=f"the trained weights of {getattr(build, '__name__', 'the network')} as safetensors",
                remedy="Put the file there, or name another data folder with --data or ESPALIER_DATA.",
            )
        ) from error
    return network.eval()


def cifar10_task(name: str, model: Callable[[], nn.Module], data: Path | None, *, learning_rate: float | None) -> Task:
    """Return a task on CIFAR-10.

    Args:
        name: of the task.
        model: returns the trained network.
        data: the data folder; by default as :func:`~espalier.examples.cifar10_data.data_folder` finds it.
        learning_rate: of fine-tuning.
    """
    train, validation, test = split(data_folder(data))
    return Task(
        name=name,
        model=model,
        example_input=torch.zeros(1, 3, 32, 32),
        train=train,
        validation=validation,
        test=test,
        loss=F.cross_entropy,
        metric="accuracy",
        augment=augment,
        batch_size=128,
        learning_rate=learning_rate,
    )


def _published(name: str, build: Callable[[], nn.Module], weights: str, data: Path | None) -> Task:
    model = functools.partial(trained_network, build, weights_file(weights, data))
    return cifar10_task(name, model, data, learning_rate=0.02)
