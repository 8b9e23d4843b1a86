"""Batches that come ready made: of a ``DataLoader``, of a list, of anything that can be walked again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from ....errors import TaskError, describe
from .base import Batch, count_of, refuse_missing
from .datasets import KeptItems, Probe, item, read_twice
from .memory import Memory, stacked
from .randomness import RandomStream, drawn_seed
from .roles import UNKNOWN, Roles


@dataclass
class ReadyBatches:
    """Batches in their own size and order.

    Args:
        source: what is walked, from its beginning each time.
        samples: how many samples one walk gives.
        roles: of their parts.
        single: whether an element is one sample, so that batches are made of several.
        reopen: makes what is walked anew, where that is not ``source`` itself.
    """

    source: Iterable[Any]
    samples: int
    roles: Roles = UNKNOWN
    single: bool = False
    reopen: Callable[[], Iterable[Any]] | None = None
    batch_size: int | None = field(default=None)

    def walk(
        self, batch_size: int, *, generator: torch.Generator | None = None, limit: int | None = None
    ) -> Iterator[Batch]:
        """Yield batches until ``limit`` samples were given, or as many as there are said to be.

        Raises:
            TaskError: there is none.
        """
        stream = RandomStream(drawn_seed(generator))
        most, seen = min(limit or self.samples, self.samples), 0
        batches = self._elements(generator, stream)
        for inputs, targets in self._grouped(batches, batch_size, most) if self.single else batches:
            yield self.roles.batch(inputs, targets)
            seen += count_of(inputs, targets)
            if seen >= most:
                return
        if not seen:
            raise TaskError(
                describe(
                    f"{self.roles.name} data of type {type(self.source).__name__} gave no sample",
                    expected=f"{self.samples} samples, each time that they are walked",
                    remedy="Begin anew in __iter__: an iterator that is used up gives nothing more.",
                )
            )

    def _elements(self, generator: torch.Generator | None, stream: RandomStream) -> Iterator[Any]:
        source = self.source if self.reopen is None else self.reopen()
        if isinstance(source, Sequence) and generator is not None:
            source = [source[i] for i in torch.randperm(len(source), generator=generator).tolist()]
        with stream.active():
            iterator = iter(source)
        number = 0
        while True:
            with stream.active():
                try:
                    element = next(iterator)
                except StopIteration:
                    return
            inputs, targets = self.roles.split(element)
            where = f"{self.roles.name} {'sample' if self.single else 'batch'} {number}: its inputs"
            refuse_missing(inputs, where, self.roles.example_input)
            yield inputs, targets
            number += 1

    def _grouped(self, elements: Iterator[Any], size: int, most: int) -> Iterator[Batch]:
        group: list[Any] = []
        for number, element in enumerate(elements, 1):
            group.append(element)
            if len(group) == size or number == most:
                yield stacked(group, range(number - len(group), number), self.roles.name)
                group = []
        if group:
            yield stacked(group, range(len(group)), self.roles.name)


def is_plain(loader: DataLoader[Any]) -> bool:
    """Return whether a loader does nothing but batch its data set, in order or shuffled, in this process."""
    sampler = loader.sampler
    shuffles = isinstance(sampler, RandomSampler) and not sampler.replacement
    whole = length_of(sampler) == length_of(loader.dataset)
    return (
        type(loader) is DataLoader
        and loader.batch_size is not None
        and loader.num_workers == 0
        and loader.collate_fn is default_collate
        and (type(sampler) is SequentialSampler or (shuffles and whole))
    )


@dataclass
class LoaderBatches(ReadyBatches):
    """The batches of a ``DataLoader`` over a map-style data set, made by its own sampler and collate function.

    The items of its data set are read once where they stay the same and fit into ``memory``.
    """

    memory: Memory = field(default_factory=Memory)
    _probe: Probe | None = field(default=None, init=False, repr=False)

    @property
    def loader(self) -> DataLoader[Any]:
        """The loader as it was given."""
        return cast("DataLoader[Any]", self.source)

    @property
    def probe(self) -> Probe:
        """What reading some items of the data set twice tells."""
        if self._probe is None:
            dataset = cast(Any, self.loader.dataset)
            self._probe = found = read_twice(lambda row: item(dataset, row, self.roles.name), len(dataset))
            size = None if found.size is None else found.size * len(dataset)
            if found.deterministic and type(self.loader) is DataLoader and self.memory.take(size):
                twin = _twin(self.loader, KeptItems(dataset, self.roles.name, found.samples))
                self.reopen = lambda: twin
        return self._probe

    def walk(
        self, batch_size: int, *, generator: torch.Generator | None = None, limit: int | None = None
    ) -> Iterator[Batch]:
        """Yield the loader's batches; see :meth:`ReadyBatches.walk`."""
        _ = self.probe
        yield from super().walk(batch_size, generator=generator, limit=limit)


def _twin(loader: DataLoader[Any], items: KeptItems) -> DataLoader[Any]:
    kept = cast(Any, items)
    if loader.batch_sampler is None:
        return DataLoader(kept, batch_size=None, sampler=loader.sampler, collate_fn=loader.collate_fn)
    return DataLoader(kept, batch_sampler=loader.batch_sampler, collate_fn=loader.collate_fn)


def loader_batches(loader: DataLoader[Any], roles: Roles, memory: Memory, stated: int | None) -> ReadyBatches:
    """Return the batches of a loader that does more than to batch.

    Args:
        loader: the loader.
        roles: of the parts of its batches.
        memory: for the items of its data set.
        stated: how many samples the task says there are.

    Raises:
        TaskError: nothing says how many samples there are.
    """
    if isinstance(loader.dataset, IterableDataset) or not hasattr(loader.dataset, "__getitem__"):
        samples = stated or length_of(loader.dataset) or _unstated(roles, "a DataLoader over an IterableDataset")
        return ReadyBatches(loader, samples, roles, single=_is_single(loader, roles), batch_size=loader.batch_size)
    samples = stated or _samples_of(loader)
    found = LoaderBatches(loader, samples, roles, batch_size=loader.batch_size, memory=memory)
    if samples:
        found.single = loader.batch_size is None and loader.batch_sampler is None and _is_single(loader, roles)
    return found


def _samples_of(loader: DataLoader[Any]) -> int:
    sampler = loader.sampler if loader.batch_size is not None or loader.batch_sampler is None else None
    return (None if sampler is None else length_of(sampler)) or length_of(loader.dataset) or 0


def _is_single(loader: Iterable[Any], roles: Roles) -> bool:
    """Return whether a loader gives samples without an axis for the batch, found out by its first one."""
    if getattr(loader, "batch_size", None) is not None:
        return False
    with RandomStream(0).active():
        first = next(iter(loader), None)
    return first is not None and roles.is_single(roles.split(first)[0])


def stream_batches(stream: Iterable[Any], roles: Roles, stated: int | None) -> ReadyBatches:
    """Return batches of what can only be walked: an ``IterableDataset``, or any object with ``__iter__``.

    Raises:
        TaskError: it is used up by one walk, or nothing says how many samples there are.
    """
    if isinstance(stream, Iterator):
        raise TaskError(
            describe(
                f"{roles.name} data are an iterator ({type(stream).__name__}), which can be walked once",
                expected="data that can be walked again and again",
                remedy="Give a Dataset, a list, or an IterableDataset that begins anew in __iter__.",
            )
        )
    samples = stated or length_of(stream) or _unstated(roles, type(stream).__name__)
    return ReadyBatches(stream, samples, roles, single=_is_single(stream, roles))


def length_of(data: Any) -> int | None:
    """Return the length of data, ``None`` where they have none."""
    try:
        return len(data)
    except (TypeError, NotImplementedError):
        return None


def _unstated(roles: Roles, kind: str) -> int:
    raise TaskError(
        describe(
            f"{roles.name} data are {kind}, which has no length",
            expected="a number of samples to take from it in one epoch",
            remedy=f"State it in the task, as in {roles.name.split()[-1]}_samples=10_000.",
        )
    )


def list_batches(batches: Sequence[Any], roles: Roles) -> ReadyBatches:
    """Return a list of batches, each ``(inputs, targets)`` or a dict, as batches."""
    pairs = [roles.split(batch) for batch in batches]
    return ReadyBatches(pairs, sum(count_of(*pair) for pair in pairs), _arranged(roles))


def _arranged(roles: Roles) -> Roles:
    """Return the roles of what was split already: pairs."""
    return Roles(roles.name, roles.example_input, loss=roles.loss)
