"""Whether a task's network can be fine-tuned, found out by one small step on a copy of it."""

from __future__ import annotations

import torch
from torch import nn

from ...errors import EspalierError, EvaluationError, TaskError, describe
from ...spaces.graph.copying import copied
from ...spaces.inputs import call, tensors_of
from ..task.data.network_input import one_example
from ..task.losses import loss_of
from ..task.task import Task
from .fine_tune import fine_tune, shuffled_batches, training_batch


def check_batch_size(task: Task) -> None:
    """Refuse a batch size that is no whole number above 0.

    Raises:
        TaskError: it is not.
    """
    size = task.batch_size
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise TaskError(
            describe(f"batch_size={size!r}", expected="a whole number of 1 or more", remedy="Correct the task.")
        )


def check_precision(model: nn.Module, task: Task) -> None:
    """Refuse networks that are not at single precision, and example inputs that are not.

    Raises:
        TaskError: weights or example input are of another floating type than float32.
    """
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and parameter.dtype != torch.float32:
            raise TaskError(
                describe(
                    f"task {task.name!r} has weights of {_short(parameter)} ({name})",
                    expected="float32, from which lower precisions are made",
                    remedy="End model() with .float().",
                )
            )
    for tensor in tensors_of(one_example(task.example_input)):
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise TaskError(
                describe(
                    f"example_input of task {task.name!r} is {_short(tensor)}, the network's weights are float32",
                    expected="float32",
                    remedy="Give it with .float().",
                )
            )


def _short(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def check_trainable(model: nn.Module, task: Task, probe: int) -> tuple[str, ...]:
    """Train a copy of the network on a few samples, and return what a user should know of it.

    Args:
        model: the network; it is not changed.
        task: whose loop is tried.
        probe: how many samples a step may take.

    Raises:
        TaskError: no parameter can be trained, or the step fails.
    """
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    total = len(list(model.parameters()))
    if len(frozen) == total and task.fine_tune is None:
        raise TaskError(
            describe(
                f"none of the {total} parameters of task {task.name!r} requires a gradient",
                expected="a network that can be fine-tuned once it is pruned",
                remedy="End model() with .requires_grad_(True), or give the task a fine_tune of its own.",
            )
        )
    _step(model, task, probe)
    if frozen and task.fine_tune is None:
        which = f"{len(frozen)} of {total} parameters require no gradient ({frozen[0]})"
        return (f"{which}: fine-tuning leaves them as they are",)
    return ()


def _step(model: nn.Module, task: Task, probe: int) -> None:
    trial = copied(model)
    samples = min(probe, training_batch(task))
    own = task.fine_tune is not None or callable(getattr(task, "optimizer", None))
    try:
        (fine_tune if own else _gradients)(trial, task, samples, torch.Generator().manual_seed(0))
    except EspalierError as error:
        raise TaskError(f"fine-tuning of task {task.name!r} on {samples} samples: {error}") from error
    except Exception as error:
        alone = samples == 1 and "more than 1 value per channel" in str(error)
        remedy = "Take a batch_size of 2 or more, and as many samples, for BatchNorm." if alone else "Try it in Python."
        raise TaskError(
            describe(
                f"fine-tuning of task {task.name!r} on {samples} samples fails: {type(error).__name__}: {error}",
                expected="a step that succeeds",
                remedy=remedy,
            )
        ) from error


def _gradients(model: nn.Module, task: Task, samples: int, generator: torch.Generator) -> None:
    """Take the built-in loop's step up to its gradients: PyTorch's optimisers take seconds to import.

    Raises:
        EvaluationError: a gradient is not finite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        inputs, targets = next(shuffled_batches(task, samples, generator))
        loss_of(task)(call(model.train(), inputs), targets).backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
            raise EvaluationError(
                describe(
                    f"the gradient of {name} is not finite",
                    expected="finite gradients",
                    remedy="Check the loss and the network for roots, logarithms and divisions near zero.",
                )
            )
