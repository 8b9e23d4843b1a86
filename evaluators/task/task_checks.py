"""Checks that a task can do what a search needs, before any time is spent on it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ...errors import EspalierError, EvaluationError, TaskError, describe, text_of
from ...spaces.graph.plain_network import check_plain
from ...spaces.inputs import call, tensors_of
from ..training.scoring import score
from ..training.training_checks import check_batch_size, check_precision, check_trainable
from ..training.training_recipe import training_recipe
from .data import as_network_input, batches, fingerprint_of_data
from .data.network_input import one_example
from .data_checks import Looked, check_targets, look_through, missing_target, notes_on_data
from .losses import loss_of
from .task import Task
from .task_measure import measure_of

_PROBE = 32
_PROBE_SECONDS = 1.0
"""Fewer samples are probed where the forward pass of so many takes longer."""


def check_task(task: Task) -> tuple[str, ...]:
    """Build the network, look through the data, and take one step of all that a search does, on a copy.

    Returns:
        What a user should know before a search, a sentence each.

    Raises:
        TaskError: the network fails, data are empty, mismatched or hold missing values, loss or metric are no finite
            numbers, or the network cannot be fine-tuned.
        UnknownNameError: the metric is unknown; near names are suggested.
    """
    measure_of(task)
    loss_of(task)
    check_batch_size(task)
    model = _built(task)
    check_precision(model, task)
    looked = look_through(task)
    with torch.no_grad():
        _attempt(lambda: call(model, task.example_input), task, "the forward pass on example_input")
    probe = _probe_size(model, task)
    if task.fine_tune is None:
        training_recipe(model, task)
    _check_loss(model, task, probe, looked)
    _check_metric(model, task, probe)
    return (*notes_on_data(looked, task), *check_trainable(model, task, probe))


def _probe_size(model: nn.Module, task: Task) -> int:
    """Return how many samples run through the network in about a second, 2 at least."""
    begin = time.perf_counter()
    with torch.no_grad():
        call(model, one_example(task.example_input))
    return max(2, min(_PROBE, int(_PROBE_SECONDS / (time.perf_counter() - begin))))


def _built(task: Task) -> nn.Module:
    model = _attempt(task.model, task, "model()")
    if not isinstance(model, nn.Module):
        raise TaskError(
            describe(
                f"model() of task {task.name!r} gave {type(model).__name__}",
                expected="an nn.Module",
                remedy="Return it.",
            )
        )
    _check_plain(model, task)
    return model.eval()


def _check_plain(model: nn.Module, task: Task) -> None:
    """Refuse networks that cannot be copied, traced or made smaller."""
    try:
        check_plain(model, scripted_parts=False)
    except EspalierError as error:
        raise TaskError(f"task {task.name!r}: {error}") from error


def _check_loss(model: nn.Module, task: Task, probe: int, parts: Sequence[Looked]) -> None:
    inputs, targets = next(batches(task.train, name="train", task=task).walk(probe, limit=probe))
    shaped = as_network_input(inputs, task.example_input)
    what = f"the forward pass on training samples of shape {_shapes(shaped)}"
    with torch.no_grad():
        outputs = _attempt(lambda: call(model, shaped), task, what)
        check_targets(parts, task, outputs)
        if task.fine_tune is not None:
            return
        loss = _attempt(lambda: loss_of(task)(outputs, targets), task, "the loss on training samples")
        _check_scalar(loss, task)
        for looked in parts:
            _check_missing(model, task, looked)
    if not math.isfinite(float(loss)):
        raise TaskError(
            describe(f"the loss of task {task.name!r} is {float(loss)}", expected="finite", remedy="Check the loss.")
        )


def _shapes(inputs: Any) -> str:
    return ", ".join(str(tuple(tensor.shape)) for tensor in tensors_of(inputs))


def _check_scalar(loss: Any, task: Task) -> None:
    if isinstance(loss, torch.Tensor) and loss.numel() == 1:
        return
    given = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
    raise TaskError(
        describe(
            f"the loss of task {task.name!r} gave {given}",
            expected="a tensor with one number, which has a gradient",
            remedy="Take the mean over the batch, and no .item().",
        )
    )


def _check_missing(model: nn.Module, task: Task, looked: Looked) -> None:
    """Refuse targets that are missing, unless the loss leaves them out."""
    if looked.missing is None:
        return
    row, inputs, targets = looked.missing
    outputs = call(model, as_network_input(inputs, task.example_input))
    loss = _attempt(lambda: loss_of(task)(outputs, targets), task, f"the loss on {looked.name} sample {row}")
    if not math.isfinite(float(loss)):
        raise missing_target(looked)


def _check_metric(model: nn.Module, task: Task, probe: int) -> None:
    limit = None if task.evaluate is not None else probe
    try:
        score(model, task, task.validation, limit=limit)
    except EspalierError as error:
        raise TaskError(f"task {task.name!r} on its validation data: {error}") from error
    except (Exception, SystemExit, GeneratorExit) as error:
        raise _failure(task, "the metric on validation samples", error) from error


def _attempt(action: Any, task: Task, what: str) -> Any:
    try:
        return action()
    except EvaluationError as error:
        raise TaskError(f"{what} of task {task.name!r}: {error}") from error
    except EspalierError:
        raise
    except (Exception, SystemExit, GeneratorExit) as error:
        raise _failure(task, what, error) from error


def _failure(task: Task, what: str, error: BaseException) -> TaskError:
    return TaskError(
        describe(
            f"{what} of task {task.name!r} fails: {type(error).__name__}: {text_of(error)}",
            expected="a call that succeeds",
            remedy="Try it in Python; example_input, data and network must fit together.",
        )
    )


def data_fingerprint(task: Task) -> str:
    """Return a digest of what stays the same of the task's data: see :func:`~.data.fingerprint_of_data`."""
    parts = [task.train, task.validation, task.test]
    found = [fingerprint_of_data(batches(p, name="fingerprinted", task=task)) for p in parts if p is not None]
    return "-".join(digest[:8] for digest in found)


_SAME_SCORE = 0.02
"""By what share scores of one network on one data set differ at most, on other machines and versions."""


def is_same_score(found: float | None, known: float | None) -> bool:
    """Return whether two scores of one network may well be of the same data; of unknown ones, yes."""
    return found is None or known is None or abs(found - known) <= _SAME_SCORE * abs(known)
