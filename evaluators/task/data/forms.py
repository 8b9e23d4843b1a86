"""Batches from whatever form a task's data has.

Tensors stay tensors, and small datasets become tensors once: for networks of a millisecond, worker processes and
per-sample collation would cost more than the training.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from ....errors import TaskError, describe
from ....spaces.inputs import map_tensors, tensors_of
from .base import Batches, count_of
from .datasets import DatasetBatches
from .loaders import ReadyBatches, is_plain, length_of, list_batches, loader_batches, stream_batches
from .memory import KEPT_BYTES, Memory
from .network_input import as_network_input
from .roles import Roles
from .tensors import TensorBatches

if TYPE_CHECKING:
    from ..task import Task

PARTS = ("train", "validation", "test")


@dataclass
class DataOfTask:
    """The parts of a task's data that were looked at in this process, with what was read of them.

    It is not sent to other processes: they read for themselves.
    """

    _found: list[tuple[Any, Batches]] = field(default_factory=list)
    _memory: Memory | None = None

    def of(self, data: Any, name: str, task: Task) -> Batches:
        """Return ``data`` as batches; the same ones each time where they are a part of the task's."""
        for known, found in self._found:
            if known is data:
                return found
        if self._memory is None:
            self._memory = Memory(task.kept_bytes)
        part = next((part for part in PARTS if getattr(task, part) is data), None)
        roles = Roles(
            part or name,
            task.example_input,
            task.target_key,
            _Arguments(task),
            task.loss,
        )
        stated = None if part is None else getattr(task, f"{part}_samples")
        if part is None:  # somebody's own: kept for no longer than it is used
            return _batches(data, roles, Memory(0), None)
        found = _batches(data, roles, self._memory, stated)
        self._found.append((data, found))
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as an empty one."""
        return DataOfTask, ()


@dataclass
class _Arguments:
    """Asks for the names of the arguments of a task's network, once."""

    task: Task

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = inspect.signature(self.task.model().forward).parameters.values()
        return tuple(parameter.name for parameter in parameters if parameter.kind in kinds)

    def __call__(self) -> Sequence[str]:
        """Return the names, in order."""
        return self.names


def batches(data: Any, *, name: str, task: Task | None = None) -> Batches:
    """Return ``data`` as batches.

    Args:
        data: ``(x, y)`` tensors or arrays, a dict of columns, a list of samples or of batches, a map-style ``Dataset``,
            an ``IterableDataset`` or a ``DataLoader``.
        name: what the task calls the data, for messages.
        task: whose data they are: says what its network takes and which part of a sample is the target, and keeps what
            was read.

    Raises:
        TaskError: the data is empty, of another kind, or its parts differ in length.
    """
    if task is not None:
        return task.data.of(data, name, task)
    return _batches(data, Roles(name), Memory(KEPT_BYTES), None)


def _batches(data: Any, roles: Roles, memory: Memory, stated: int | None) -> Batches:
    if stated is not None and (not isinstance(stated, int) or isinstance(stated, bool) or stated < 1):
        raise TaskError(
            describe(
                f"{roles.name}_samples={stated!r}", expected="a whole number of 1 or more", remedy="Correct the task."
            )
        )
    found = _form(data, roles, memory, stated)
    if found.samples == 0:
        raise TaskError(
            describe(f"{roles.name} data is empty", expected="at least one sample", remedy="Check how it is loaded.")
        )
    return found


def _form(data: Any, roles: Roles, memory: Memory, stated: int | None) -> Batches:
    if isinstance(data, DataLoader):
        return _of_loader(data, roles, memory, stated)
    if isinstance(data, IterableDataset):
        return stream_batches(data, roles, stated)
    if type(data) is TensorDataset:
        return _of_columns(data.tensors, roles)
    if isinstance(data, str | bytes | torch.Tensor | np.ndarray) or hasattr(data, "to_numpy"):
        raise _unusable(data, roles)
    if isinstance(data, Mapping):
        return _of_mapping(data, roles)
    if _is_columns(data):
        return _of_columns(data, roles)
    if isinstance(data, list | tuple):
        return _of_list(data, roles, memory)
    if hasattr(data, "__getitem__") and length_of(data) is not None:
        return DatasetBatches(cast(Any, data), roles, memory)
    if isinstance(data, Iterable):
        return stream_batches(data, roles, stated)
    raise _unusable(data, roles)


def _unusable(data: Any, roles: Roles) -> TaskError:
    remedy = "Wrap it in one of these."
    if isinstance(data, torch.Tensor | np.ndarray) or hasattr(data, "to_numpy"):
        remedy = "Pair inputs with targets, as in (x, y); of a table, as in (table[features], table[target])."
    return TaskError(
        describe(
            f"{roles.name} data of type {type(data).__name__}",
            expected="(x, y) tensors, a Dataset with a length, or a DataLoader",
            remedy=remedy,
        )
    )


def _of_loader(loader: DataLoader[Any], roles: Roles, memory: Memory, stated: int | None) -> Batches:
    if not isinstance(loader.dataset, IterableDataset) and is_plain(loader):
        dataset = loader.dataset
        if type(dataset) is TensorDataset:
            found = _of_columns(dataset.tensors, roles)
            return TensorBatches(found.inputs, found.targets, roles, loader.batch_size)
        return DatasetBatches(dataset, roles, memory, loader.batch_size)
    return loader_batches(loader, roles, memory, stated)


def _of_mapping(data: Mapping[Any, Any], roles: Roles) -> Batches:
    if all(_is_column(column) for column in data.values()):
        return _of_columns(data, roles)
    kinds = ", ".join(f"{key!r} ({type(value).__name__})" for key, value in list(data.items())[:4])
    raise TaskError(
        describe(
            f"{roles.name} data are a dict of {kinds}",
            expected="one data set, or a dict of columns of equal length",
            remedy=f"Choose the part that is the {roles.name} data, as in data['train'].",
        )
    )


def _is_column(value: Any) -> bool:
    """Return whether a value holds something of every sample, along its first axis."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return value.ndim > 0
    if hasattr(value, "to_numpy"):
        return True
    return isinstance(value, list) and bool(value) and not isinstance(value[0], Mapping | torch.Tensor | tuple)


def _is_columns(data: Any) -> bool:
    """Return whether ``data`` are ``(x, y)`` or ``(x1, x2, y)``: a tuple of structures, or a list of two arrays."""
    if isinstance(data, tuple) and len(data) >= 2 and not hasattr(data, "_asdict"):
        return all(_is_structure(part) for part in data)
    return isinstance(data, list) and len(data) == 2 and all(_is_array(part) for part in data)


def _is_array(part: Any) -> bool:
    return isinstance(part, torch.Tensor | np.ndarray) or hasattr(part, "to_numpy")


def _is_structure(part: Any) -> bool:
    if isinstance(part, Mapping):
        return bool(part) and all(_is_structure(value) for value in part.values())
    if isinstance(part, tuple):
        return bool(part) and all(_is_structure(value) for value in part)
    return _is_array(part) or _is_column(part) or (isinstance(part, list) and not part)


def _of_columns(columns: Any, roles: Roles) -> TensorBatches:
    inputs, targets = roles.split(columns)
    lengths = {len(t) if t.dim() else 0 for t in [*tensors_of(inputs), *tensors_of(targets)]}
    if not tensors_of(inputs) or not tensors_of(targets) or len(lengths) != 1:
        sizes = f"{[tuple(t.shape) for t in tensors_of(inputs)]} and {[tuple(t.shape) for t in tensors_of(targets)]}"
        raise TaskError(
            describe(
                f"{roles.name} data of shapes {sizes}",
                expected="inputs and targets with the same number of samples along dimension 0",
                remedy="Pair each input with its target.",
            )
        )
    return TensorBatches(inputs, targets, roles)


def _of_list(data: Sequence[Any], roles: Roles, memory: Memory) -> Batches:
    """Return a list of samples, or of batches, as batches; what they are is told by the first one's inputs."""
    if not data:
        return DatasetBatches(data, roles, memory)
    inputs, targets = roles.split(data[0], 0)
    known = roles.example_input is not None
    single = roles.is_single(inputs) if known else not all(t.dim() for t in tensors_of(targets))
    if single:
        return DatasetBatches(data, roles, memory)
    return list_batches(data, roles)


def single_inputs(
    found: Batches, example_input: Any, *, limit: int, generator: torch.Generator | None = None
) -> Iterator[Any]:
    """Yield the inputs of at most ``limit`` samples, each as a batch of 1 of the example input's kind.

    Args:
        found: the samples.
        example_input: what the network takes.
        limit: how many.
        generator: shuffles them where given; a ``DataLoader`` keeps its own order.
    """
    count = 0
    for inputs, targets in found.walk(min(limit, 256), generator=generator, limit=limit):
        shaped = as_network_input(inputs, example_input)
        for row in range(min(count_of(inputs, targets), limit - count)):
            single = map_tensors(lambda t, r=row: t[r : r + 1], shaped)
            yield tuple(single) if isinstance(single, list) else single
            count += 1


__all__ = ["PARTS", "DataOfTask", "ReadyBatches", "batches", "single_inputs"]
