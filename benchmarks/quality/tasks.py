"""The tasks of the benchmark, and any other by its reference."""

from __future__ import annotations

from pathlib import Path

import torch

from espalier import Task, load_task
from espalier.errors import TaskError, describe
from espalier.evaluators.task.task_loading import BUILT_IN_TASKS
from espalier.evaluators.task.task_reference import split_reference

TASKS = tuple(n for n in ("cifar10-resnet8", "cifar10-resnet20", "cifar10-vit", "cifar10-vgg") if n in BUILT_IN_TASKS)
"""What runs unless told otherwise; ``FILE.py:NAME`` or ``package.module:name`` names another."""


def task_named(reference: str, data: Path | None) -> Task:
    """Return a task, ready to be trained; its data are read here, before any budget begins.

    Raises:
        UnknownNameError: there is no such task.
        TaskError: its data are absent.
    """
    return load_task(reference, data=data)


def folder_name(reference: str) -> str:
    """Return the name of a task's folder of results."""
    if ":" not in reference:
        return reference
    location, attribute = split_reference(reference)
    return "-".join(part for part in (Path(location).stem, attribute) if part)


def image_of(task: Task) -> torch.Tensor:
    """Return the task's example input.

    Raises:
        TaskError: it is no single tensor, which is all that the methods compared here are written for.
    """
    if isinstance(task.example_input, torch.Tensor):
        return task.example_input
    raise TaskError(
        describe(
            f"the example input of {task.name} is {type(task.example_input).__name__}",
            expected="one tensor",
            remedy="Compare on a task whose network takes one.",
        )
    )
