"""What a network is fine-tuned with: what the task says, and for the rest what suits the network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ...errors import TaskError, describe
from ..task.task import Task
from .optimizers import OPTIMIZERS, needs_adamw
from .schedules import SCHEDULES, factor

HIGH_FOR_ADAMW = 6e-3
"""Learning rates from here on are SGD's rather than AdamW's."""


@dataclass(frozen=True)
class TrainingRecipe:
    """How a network is fine-tuned, every choice made."""

    optimizer: str
    """``sgd``, ``adamw`` or the name of the task's own function."""
    learning_rate: float | None
    """The peak; ``None`` where the task's own function says it."""
    weight_decay: float | None
    clip_norm: float | None
    schedule: str
    label_smoothing: float
    why: str
    """Why this optimiser, as a sentence's end."""
    make: Callable[[Iterable[nn.Parameter]], Any]
    """Builds the optimiser."""

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimiser of ``parameters``.

        Raises:
            TaskError: the task's own function returned none.
        """
        found = self.make(parameters)
        if not isinstance(found, torch.optim.Optimizer):
            raise TaskError(
                describe(
                    f"optimizer() gave {type(found).__name__}",
                    expected="a torch.optim.Optimizer",
                    remedy="Return one that holds the parameters given.",
                )
            )
        return found

    def scheduler(self, optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
        """Return what moves the learning rate over so many steps."""
        schedule = SCHEDULES.get(self.schedule)
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(schedule, step, steps))

    @property
    def note(self) -> str:
        """One sentence for whoever wants to know what training is done with."""
        name = OPTIMIZERS.get(self.optimizer).title if self.optimizer in OPTIMIZERS else self.optimizer
        rate = "" if self.learning_rate is None else f" at a learning rate of {self.learning_rate:g}"
        text = f"fine-tuning by {name}{rate}, {self.why}"
        if self.optimizer == "adamw" and (self.learning_rate or 0.0) >= HIGH_FOR_ADAMW:
            text += "; that rate is high for AdamW, which usually learns at 0.003 or less"
        return text

    def to_dict(self) -> dict[str, Any]:
        """Return the plain data that ``run.json`` stores."""
        return {name: value for name, value in vars(self).items() if name != "make"}


def training_recipe(model: nn.Module, task: Task) -> TrainingRecipe:
    """Return how ``model`` is fine-tuned on ``task`` by the built-in loop.

    Raises:
        UnknownNameError: no optimiser or schedule has that name.
        TaskError: a number is out of its range, or a rate is given beside an optimiser that knows its own.
    """
    SCHEDULES.get(task.schedule)
    _check_numbers(task)
    shared = {"clip_norm": task.clip_norm, "schedule": task.schedule, "label_smoothing": task.label_smoothing}
    if callable(task.optimizer):
        return _own(task, shared)
    name, why = _name(model, task)
    known = OPTIMIZERS.get(name)
    rate = known.rate_for(model) if task.learning_rate is None else task.learning_rate
    decay = known.weight_decay if task.weight_decay is None else task.weight_decay
    return TrainingRecipe(
        name, rate, decay, why=why, make=lambda parameters: known.build(parameters, rate, decay), **shared
    )


def _name(model: nn.Module, task: Task) -> tuple[str, str]:
    if isinstance(task.optimizer, str):
        return task.optimizer.strip().lower(), "as the task says"
    if task.optimizer is not None:
        raise TaskError(
            describe(
                f"optimizer of type {type(task.optimizer).__name__}",
                expected=f"one of {', '.join(OPTIMIZERS)}, or a function of the parameters",
                remedy="Give a function that builds it: pruned networks have parameters of their own.",
            )
        )
    layer = needs_adamw(model)
    if layer is None:
        return "sgd", "as the network has neither attention nor LayerNorm"
    return "adamw", f"as the network has {layer} layers (optimizer='sgd' in the task chooses otherwise)"


def _own(task: Task, shared: dict[str, Any]) -> TrainingRecipe:
    given = [name for name in ("learning_rate", "weight_decay") if getattr(task, name) is not None]
    if given:
        raise TaskError(
            describe(
                f"{' and '.join(given)} beside an optimizer that is a function",
                expected="one place that says it",
                remedy="Say it in the function.",
            )
        )
    name = getattr(task.optimizer, "__name__", type(task.optimizer).__name__)
    return TrainingRecipe(name, None, None, why="which is the task's own", make=task.optimizer, **shared)


def _check_numbers(task: Task) -> None:
    for name, least in (("learning_rate", "above zero"), ("weight_decay", "zero or more"), ("clip_norm", "above zero")):
        value = getattr(task, name)
        if value is None:
            continue
        fits = isinstance(value, (int, float)) and math.isfinite(value) and value >= 0
        if not fits or (value == 0 and least == "above zero"):
            remedy = "Correct it, or leave it out for the default."
            raise TaskError(describe(f"{name} {value!r} of task {task.name!r}", expected=least, remedy=remedy))
