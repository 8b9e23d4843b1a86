"""A short fine-tune at a stated fidelity: so many samples, no more."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ...errors import EvaluationError, describe
from ...spaces.inputs import channels_last, map_tensors, tensors_of
from ...spaces.masks import NO_MASKS, Masks
from ..task.data import Batch, as_network_input, batches, count_of
from ..task.losses import loss_of
from ..task.task import Task
from .fine_tuned import check_fine_tuned, shapes_of
from .mixed_precision import MixedPrecision
from .training_recipe import TrainingRecipe, training_recipe


def fine_tune(
    model: nn.Module, task: Task, samples: int, generator: torch.Generator, *, masks: Masks = NO_MASKS
) -> nn.Module:
    """Train ``model`` in place on ``samples`` training samples and return it in eval mode.

    With the optimiser, learning rate, schedule and clipping of :func:`~.training_recipe.training_recipe`; in bfloat16
    where the processor gains from it. All randomness comes from ``generator``; the global one is left as it was.

    Weights that ``masks`` holds at zero get no gradient and are zeroed again after each step. A task's own loop knows
    nothing of them: what it made of them is zeroed at its end.

    Raises:
        EvaluationError: the loss is no longer finite, or a task's own loop returned a network without a masked weight.
    """
    if samples <= 0:
        return model.eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        if task.fine_tune is not None:
            shapes = shapes_of(model)
            tuned = check_fine_tuned(task.fine_tune(model, task, samples, generator), shapes)
            return _masked(tuned.eval(), masks)
        return _train(model, task, samples, generator, masks)


def _masked(model: nn.Module, masks: Masks) -> nn.Module:
    shapes = {name: tuple(tensor.shape) for name, tensor in model.named_parameters(remove_duplicate=False)}
    lost = [name for name, mask in masks.of.items() if shapes.get(name) != tuple(mask.zeroed.shape)]
    if lost:
        raise EvaluationError(
            describe(
                f"the task's own fine_tune returned a network with another {lost[0]}",
                expected="the pruned network that it was given, as weights of it must stay zero",
                remedy="Train it in place and return it.",
            )
        )
    masks.zero_(model)
    return model


def _train(model: nn.Module, task: Task, samples: int, generator: torch.Generator, masks: Masks) -> nn.Module:
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise EvaluationError(
            describe(
                "no parameter of the network requires a gradient",
                expected="at least one to fine-tune",
                remedy="Call .requires_grad_(True) on the network.",
            )
        )
    recipe, loss_function = training_recipe(model, task), loss_of(task)
    optimizer = recipe.build(parameters)
    schedule = recipe.scheduler(optimizer, math.ceil(samples / training_batch(task)))
    model.train()
    forward = MixedPrecision(model)
    for inputs, targets in shuffled_batches(task, samples, generator):
        optimizer.zero_grad(set_to_none=True)
        loss = loss_function(forward(inputs), targets)
        if not torch.isfinite(loss):
            raise _diverged(float(loss.detach()), inputs, targets, recipe)
        loss.backward()
        masks.zero_gradients_(model)
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)
        optimizer.step()
        masks.zero_(model)
        schedule.step()
    return model.eval()


def _diverged(loss: float, inputs: Any, targets: Any, recipe: TrainingRecipe) -> EvaluationError:
    remedy = f"Lower {_rate(recipe)}."
    for part, values in (("inputs", inputs), ("targets", targets)):
        if not all(bool(torch.isfinite(t).all()) for t in tensors_of(values) if t.is_floating_point()):
            remedy = f"The batch has {part} that are NaN or infinite: fill them in, or leave such samples out."
    return EvaluationError(describe(f"loss {loss} while fine-tuning", expected="a finite number", remedy=remedy))


def _rate(recipe: TrainingRecipe) -> str:
    if recipe.learning_rate is None:
        return "the rate of the task's own optimizer"
    return f"the task's learning_rate (now {recipe.learning_rate:g}, for {recipe.optimizer})"


def training_batch(task: Task) -> int:
    """Return how many samples a step takes: no more than there are, and the size of a loader's own batches."""
    source = batches(task.train, name="train", task=task)
    return min(source.batch_size or task.batch_size, source.samples)


def shuffled_batches(task: Task, samples: int, generator: torch.Generator) -> Iterator[Batch]:
    """Yield shuffled, augmented training batches, epoch after epoch, until ``samples`` samples were given."""
    source = batches(task.train, name="train", task=task)
    least = min(2, training_batch(task))  # a single sample gives BatchNorm no variance, unless that is what was wanted
    seen = 0
    while seen < samples:
        for inputs, targets in _cut(source.walk(task.batch_size, generator=generator), samples - seen):
            size = count_of(inputs, targets)
            if size >= least:
                yield _prepared(inputs, task, generator), targets
            seen += size


def _cut(walk: Iterator[Batch], left: int) -> Iterator[Batch]:
    """Yield batches until ``left`` samples were given."""
    for inputs, targets in walk:
        size = count_of(inputs, targets)
        yield (inputs, targets) if size <= left else (_first(inputs, left), _first(targets, left))
        left -= size
        if left <= 0:
            return


def _prepared(inputs: Any, task: Task, generator: torch.Generator) -> Any:
    floating = as_network_input(inputs, task.example_input)
    if task.augment is not None:
        floating = task.augment(floating, generator)
    return channels_last(floating)


def _first(structure: Any, count: int) -> Any:
    return map_tensors(lambda t: t[:count], structure)
