"""Checks that a task can do what a search needs, before any time is spent on it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from ..errors import EspalierError, TaskError, describe
from ..spaces.inputs import call
from .data import as_network_input, batches, fingerprint_of_data
from .losses import loss_of
from .scoring import score
from .task import Task
from .task_measure import measure_of
from .training_recipe import training_recipe

_PROBE = 32


def check_task(task: Task) -> None:
    """Build the network and run it once, on the example input and on a few validation samples.

    Raises:
        TaskError: the network fails, data are empty or mismatched, or loss or metric are no finite numbers.
        UnknownNameError: the metric is unknown; near names are suggested.
    """
    measure_of(task)
    loss_of(task)
    model = _built(task)
    with torch.no_grad():
        _attempt(lambda: call(model, task.example_input), task, "the forward pass on example_input")
    for name in ("train", "validation", "test"):
        data = getattr(task, name)
        if data is not None:
            batches(data, name=f"{task.name}'s {name}")
        elif name != "test":
            raise TaskError(
                describe(f"task {task.name!r} has no {name} data", expected="data", remedy=f"Give {name}=.")
            )
    if task.fine_tune is None:
        training_recipe(model, task).build(p for p in model.parameters() if p.requires_grad)
    _check_loss(model, task)
    _check_metric(model, task)


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
    """Refuse networks whose forward pass is fixed already: they cannot be traced, or not be made smaller."""
    for name, module in model.named_modules():
        kind = "scripted (torch.jit)" if isinstance(module, torch.jit.ScriptModule) else None
        # By name: importing what compiles takes seconds.
        if type(module).__module__.startswith("torch._dynamo"):
            kind = "compiled (torch.compile)"
        if kind is not None:
            raise TaskError(
                describe(
                    f"task {task.name!r} has {name or 'a network'} that is {kind}",
                    expected="a plain nn.Module",
                    remedy="Return the network as it was before; script or compile what comes out of pruning.",
                )
            )


def _check_loss(model: nn.Module, task: Task) -> None:
    if task.fine_tune is not None:
        return
    inputs, targets = next(batches(task.train, name="train").walk(_PROBE, limit=_PROBE))
    with torch.no_grad():
        loss = _attempt(lambda: _loss(model, task, inputs, targets), task, "the loss on training samples")
    if not math.isfinite(loss):
        raise TaskError(
            describe(f"the loss of task {task.name!r} is {loss}", expected="finite", remedy="Check the loss.")
        )


def _loss(model: nn.Module, task: Task, inputs: Any, targets: Any) -> float:
    return float(loss_of(task)(call(model, as_network_input(inputs, task.example_input)), targets))


def _check_metric(model: nn.Module, task: Task) -> None:
    limit = None if task.evaluate is not None else _PROBE
    try:
        score(model, task, task.validation, limit=limit)
    except EspalierError as error:
        raise TaskError(f"task {task.name!r} on its validation data: {error}") from error
    except Exception as error:
        raise _failure(task, "the metric on validation samples", error) from error


def _attempt(action: Any, task: Task, what: str) -> Any:
    try:
        return action()
    except EspalierError:
        raise
    except Exception as error:
        raise _failure(task, what, error) from error


def _failure(task: Task, what: str, error: Exception) -> TaskError:
    return TaskError(
        describe(
            f"{what} of task {task.name!r} fails: {type(error).__name__}: {error}",
            expected="a call that succeeds",
            remedy="Try it in Python; example_input, data and network must fit together.",
        )
    )


def data_fingerprint(task: Task) -> str:
    """Return a digest of a sample of the task's data and of their sizes."""
    parts = [task.train, task.validation, task.test]
    found = [fingerprint_of_data(batches(part, name="fingerprinted")) for part in parts if part is not None]
    return "-".join(digest[:8] for digest in found)
