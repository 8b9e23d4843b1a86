"""Batches from whatever form a task's data has.

Tensors stay tensors, and small datasets become tensors once: for networks of a millisecond, worker processes and
per-sample collation would cost more than the training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from ..errors import TaskError, describe
from ..spaces.inputs import map_tensors, tensors_of

Batch = tuple[Any, Any]


class Batches(Protocol):
    """A finite set of samples that can be walked in batches."""

    @property
    def samples(self) -> int:
        """How many samples there are."""
        ...

    def walk(
        self, batch_size: int, *, generator: torch.Generator | None = None, limit: int | None = None
    ) -> Iterator[Batch]:
        """Yield ``(inputs, targets)``; shuffled where ``generator`` is given, at most ``limit`` samples."""
        ...


@dataclass(frozen=True)
class TensorBatches:
    """Samples along dimension 0 of tensors, or of a structure of tensors."""

    inputs: Any
    targets: Any

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(tensors_of(self.targets)[0])

    def walk(
        self, batch_size: int, *, generator: torch.Generator | None = None, limit: int | None = None
    ) -> Iterator[Batch]:
        """Yield slices where the order is kept, and gathered rows where it is shuffled."""
        count = min(self.samples, limit or self.samples)
        order = torch.randperm(self.samples, generator=generator)[:count] if generator is not None else None
        for start in range(0, count, batch_size):
            stop = min(start + batch_size, count)
            rows = slice(start, stop) if order is None else order[start:stop]
            yield map_tensors(lambda t, r=rows: t[r], self.inputs), map_tensors(lambda t, r=rows: t[r], self.targets)


@dataclass(frozen=True)
class DatasetBatches:
    """Samples of a map-style dataset, collated as PyTorch does by default."""

    dataset: Dataset[Any]

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(cast(Sized, self.dataset))

    def walk(
        self, batch_size: int, *, generator: torch.Generator | None = None, limit: int | None = None
    ) -> Iterator[Batch]:
        """Yield collated batches."""
        count = min(self.samples, limit or self.samples)
        shuffled = torch.randperm(self.samples, generator=generator) if generator is not None else torch.arange(count)
        for rows in shuffled[:count].split(batch_size):
            inputs, targets = default_collate([self.dataset[i] for i in rows.tolist()])
            yield inputs, targets


@dataclass(frozen=True)
class LoaderBatches:
    """The batches of a ``DataLoader``, in its own size and order."""

    loader: DataLoader[Any]

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(cast(Sized, self.loader.dataset))

    def walk(
        self, batch_size: int, *, generator: torch.Generator | None = None, limit: int | None = None
    ) -> Iterator[Batch]:
        """Yield the loader's batches until ``limit`` samples were given."""
        seen = 0
        for inputs, targets in self.loader:
            yield inputs, targets
            seen += len(tensors_of(targets)[0])
            if limit is not None and seen >= limit:
                return


def batches(data: Any, *, name: str) -> Batches:
    """Return ``data`` as batches.

    Args:
        data: ``(x, y)`` tensors, a map-style ``Dataset`` or a ``DataLoader``.
        name: what the task calls the data, for messages.

    Raises:
        TaskError: the data is empty, of another kind, or its parts differ in length.
    """
    found: Batches
    if isinstance(data, DataLoader):
        found = LoaderBatches(data)
    elif isinstance(data, Sequence) and len(data) == 2 and tensors_of(data):
        found = _tensor_batches(data, name)
    elif hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        found = DatasetBatches(cast(Any, data))
    else:
        raise TaskError(
            describe(
                f"{name} data of type {type(data).__name__}",
                expected="(x, y) tensors, a Dataset with a length, or a DataLoader",
                remedy="Wrap it in one of these.",
            )
        )
    if found.samples == 0:
        raise TaskError(
            describe(f"{name} data is empty", expected="at least one sample", remedy="Check how it is loaded.")
        )
    return found


def _tensor_batches(data: Sequence[Any], name: str) -> TensorBatches:
    inputs, targets = data
    lengths = {len(t) if t.dim() else 0 for t in [*tensors_of(inputs), *tensors_of(targets)]}
    if not tensors_of(inputs) or not tensors_of(targets) or len(lengths) != 1:
        sizes = f"{[tuple(t.shape) for t in tensors_of(inputs)]} and {[tuple(t.shape) for t in tensors_of(targets)]}"
        raise TaskError(
            describe(
                f"{name} data of shapes {sizes}",
                expected="inputs and targets with the same number of samples along dimension 0",
                remedy="Pair each input with its target.",
            )
        )
    return TensorBatches(inputs, targets)


def as_network_input(inputs: Any, example_input: Any) -> Any:
    """Return ``inputs`` with integer tensors made floating where the example input is; images can be kept as bytes."""
    wanted = tensors_of(example_input)
    if wanted and all(t.is_floating_point() for t in wanted):
        dtype = wanted[0].dtype
        return map_tensors(lambda t: t if t.is_floating_point() else t.to(dtype), inputs)
    return inputs


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
        for row in range(min(len(tensors_of(targets)[0]), limit - count)):
            single = map_tensors(lambda t, r=row: t[r : r + 1], shaped)
            yield tuple(single) if isinstance(single, list) else single
            count += 1


def fingerprint_of_data(found: Batches, *, probes: int = 64) -> str:
    """Return a digest of the number of samples and of the values of ``probes`` of them, spread evenly."""
    digest = hashlib.sha256(str(found.samples).encode())
    if isinstance(found, LoaderBatches):
        return digest.hexdigest()[:16]
    rows = torch.linspace(0, found.samples - 1, min(probes, found.samples)).long().unique()
    for row in rows.tolist():
        for tensor in tensors_of(_sample(found, row)):
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _sample(found: Batches, row: int) -> Any:
    if isinstance(found, TensorBatches):
        return map_tensors(lambda t: t[row], (found.inputs, found.targets))
    return default_collate([cast(DatasetBatches, found).dataset[row]])
