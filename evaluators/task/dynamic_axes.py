"""Which axes of a task's inputs vary: the batch always, others as the task declares them or as its data show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ...errors import TaskError, describe, unknown_name
from ..onnx.named_tensors import named_inputs
from .data import TensorBatches, as_network_input, batches
from .task import Task

BATCH = "batch"
_LOOKED_AT = 8
"""Batches of each part of the data that are looked at for shapes."""
_IMAGE_AXES = {4: {2: "height", 3: "width"}, 5: {2: "depth", 3: "height", 4: "width"}}


@dataclass(frozen=True)
class DynamicAxes:
    """The axes that vary, by the name of the input and the number of the axis."""

    names: Mapping[str, Mapping[int, str]] = field(default_factory=dict)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The different names, the batch first."""
        found = dict.fromkeys(name for axes in self.names.values() for name in axes.values())
        return tuple(sorted(found, key=lambda name: name != BATCH))

    def without(self, *dimensions: str) -> DynamicAxes:
        """Return the axes that are left where some have a fixed size."""
        kept = {
            name: {axis: each for axis, each in axes.items() if each not in dimensions}
            for name, axes in self.names.items()
        }
        return DynamicAxes({name: axes for name, axes in kept.items() if axes})

    def sizes(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, int]:
        """Return how large each dimension is in given inputs."""
        return {
            dimension: int(tensors[name].shape[axis])
            for name, axes in self.names.items()
            for axis, dimension in axes.items()
            if name in tensors
        }

    def to_dict(self) -> dict[str, dict[str, str]]:
        """Return the plain data that ``manifest.json`` stores."""
        return {name: {str(axis): each for axis, each in axes.items()} for name, axes in self.names.items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Mapping[str, str]]) -> DynamicAxes:
        """Return the axes that :meth:`to_dict` wrote."""
        return cls({name: {int(axis): str(each) for axis, each in axes.items()} for name, axes in content.items()})


def dynamic_axes(task: Task, model: nn.Module, samples: Sequence[Any]) -> DynamicAxes:
    """Return the axes of a task's inputs that vary, as ``samples`` of its data (:func:`sample_inputs`) show them.

    Raises:
        TaskError: the task declares an input or an axis that there is not.
    """
    example = named_inputs(model, task.example_input)
    found = _found(samples, model, example) if task.dynamic is None else _declared(task, example)
    return DynamicAxes({name: {**_batch_axis(t), **found.get(name, {})} for name, t in example.items() if t.dim()})


def _batch_axis(tensor: torch.Tensor) -> dict[int, str]:
    # Where an example of a batch of 1 has more along axis 0, that axis is no batch.
    return {0: BATCH} if tensor.shape[0] == 1 else {}


def _declared(task: Task, example: Mapping[str, torch.Tensor]) -> dict[str, dict[int, str]]:
    for name, axes in (task.dynamic or {}).items():
        if name not in example:
            raise unknown_name("input in dynamic", str(name), example)
        for axis, dimension in axes.items():
            _check_axis(name, axis, dimension, example[name])
    return {name: {a: n for a, n in axes.items() if a != 0} for name, axes in (task.dynamic or {}).items()}


def _check_axis(name: str, axis: Any, dimension: Any, tensor: torch.Tensor) -> None:
    right = (
        isinstance(axis, int) and 0 <= axis < tensor.dim() and isinstance(dimension, str) and dimension.isidentifier()
    )
    if right and (axis == 0) == (dimension == BATCH):
        return
    raise TaskError(
        describe(
            f"dynamic says {axis!r}: {dimension!r} of the input {name}, which has {tensor.dim()} axes",
            expected=f"an axis from 1 to {tensor.dim() - 1} and its name, as in {{1: 'length'}}",
            remedy=f"Correct it; axis 0 is '{BATCH}' and need not be declared.",
        )
    )


def _found(samples: Sequence[Any], model: nn.Module, example: Mapping[str, torch.Tensor]) -> dict[str, dict[int, str]]:
    """Return the axes whose size differs between the example and samples of the data, without the batch."""
    seen = [example, *(named_inputs(model, inputs) for inputs in samples)]
    seen = [s for s in seen if all(n in s and s[n].dim() == t.dim() for n, t in example.items())]
    sizes = {
        (name, axis): tuple(int(s[name].shape[axis]) for s in seen)
        for name, tensor in example.items()
        for axis in range(1, tensor.dim())
    }
    varying = {place: of for place, of in sizes.items() if len(set(of)) > 1}
    named = _named(varying, example)
    return {name: {a: n for (i, a), n in named.items() if i == name} for name in example}


def _named(
    varying: Mapping[tuple[str, int], tuple[int, ...]], example: Mapping[str, torch.Tensor]
) -> dict[tuple[str, int], str]:
    """Name axes; those of different inputs that are always of one size share their name."""
    named: dict[tuple[str, int], str] = {}
    for place, sizes in varying.items():
        same = (p for p in named if varying[p] == sizes and p[0] != place[0] and p[1] == place[1])
        shared = next(same, None)
        named[place] = _new_name(place, example, named.values()) if shared is None else named[shared]
    return named


def _new_name(place: tuple[str, int], example: Mapping[str, torch.Tensor], taken: Any) -> str:
    name, axis = place
    usual = _IMAGE_AXES.get(example[name].dim(), {}) if example[name].is_floating_point() else {}
    word = usual.get(axis, "length" if axis == 1 else f"axis_{axis}")
    return word if word not in taken else f"{name}_{word}"


def sample_inputs(task: Task, *, batch: int = 8) -> Iterator[Any]:
    """Yield the inputs of a few batches of validation, then of training data, as the network takes them."""
    for name in ("validation", "train"):
        walk = _walk(task, name, batch)
        for _, (inputs, _) in zip(range(_LOOKED_AT), walk, strict=False):
            shaped = as_network_input(inputs, task.example_input)
            yield tuple(shaped) if isinstance(shaped, list) else shaped


def _walk(task: Task, name: str, batch: int) -> Iterator[Any]:
    """Walk data in batches, or sample by sample where samples are not of one shape and cannot be stacked."""
    found = batches(getattr(task, name), name=name, task=task)
    # Tensors hold samples of one shape.
    limit = batch if isinstance(found, TensorBatches) else batch * _LOOKED_AT
    try:
        yield from found.walk(batch, limit=limit)
    except (RuntimeError, ValueError):
        yield from found.walk(1, limit=_LOOKED_AT)


def shapes_in_words(sizes: Mapping[str, int]) -> str:
    """Return sizes as a reader says them: ``batch 8, length 12``."""
    return ", ".join(f"{name} {size}" for name, size in sizes.items())
