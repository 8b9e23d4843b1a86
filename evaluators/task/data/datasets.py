"""Samples of a map-style data set: read once where they stay the same and fit into memory."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ....errors import EspalierError, TaskError, describe
from ....spaces.inputs import tensors_of
from .base import Batch, refuse_missing
from .memory import Memory, SampleStore, stacked
from .randomness import RandomStream, drawn_seed
from .roles import UNKNOWN, Roles
from .values import equal, size_in_bytes

_PROBES = 32
LEAST_PROBES = 4
PROBE_SECONDS = 0.4
"""How long data are looked at before a search, in time of this process; twice as much where it waits for files."""


class Moment:
    """A short time, told by what this process computed: other programs' load shortens it by half at most."""

    def __init__(self) -> None:
        self._wall, self._own = time.perf_counter(), time.process_time()

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        own, wall = time.process_time() - self._own, time.perf_counter() - self._wall
        return own > PROBE_SECONDS or wall > 2 * PROBE_SECONDS


@dataclass(frozen=True)
class Probe:
    """What some samples, each read twice, tell of a data set."""

    deterministic: bool
    """Whether both readings of each gave the same values."""
    samples: tuple[tuple[int, Any], ...]
    """Their first readings, by their places."""

    @property
    def size(self) -> int | None:
        """About how many bytes a sample takes; ``None`` where that cannot be told."""
        sizes = [size_in_bytes(sample) for _, sample in self.samples]
        return None if None in sizes else max(size for size in sizes if size is not None)


def read_twice(read: Callable[[int], Any], count: int) -> Probe:
    """Read samples spread over a data set twice, each time with other random numbers, for a moment."""
    spread = torch.linspace(0, count - 1, min(_PROBES, count)).long().unique().tolist()
    rows = [*spread[::8], *(row for place, row in enumerate(spread) if place % 8)]  # however few are read, they spread
    streams = RandomStream(1), RandomStream(2)
    moment, found, same = Moment(), [], True
    for row in rows:
        readings = []
        for stream in streams:
            with stream.active():
                readings.append(read(row))
        found.append((row, readings[0]))
        same = same and equal(*readings)
        if not same or (len(found) >= LEAST_PROBES and moment.is_over):
            break
    return Probe(same, tuple(found))


@dataclass
class DatasetBatches:
    """Samples of a map-style data set.

    Where they stay the same at each reading, as far as some of them tell, and fit into ``memory``, each is read once
    and kept as tensors. Others are read anew, with random numbers that the walk's generator decides.
    """

    dataset: Any
    roles: Roles = UNKNOWN
    memory: Memory = field(default_factory=Memory)
    batch_size: int | None = None
    """Of a loader that the data came in; other sizes are not taken."""
    _probe: Probe | None = field(default=None, init=False, repr=False)
    _store: SampleStore | None = field(default=None, init=False, repr=False)

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(self.dataset)

    @property
    def probe(self) -> Probe:
        """What reading some samples twice tells."""
        if self._probe is None:
            self._probe = found = read_twice(self.sample, self.samples)
            size = None if found.size is None else found.size * self.samples
            if found.deterministic and self.memory.take(size):
                self._store = SampleStore(self.samples, found.samples[0][1], self.roles.name)
                for row, sample in found.samples:
                    self._store.put(row, sample)
        return self._probe

    @property
    def is_kept(self) -> bool:
        """Whether samples that were read are kept."""
        return self.probe.deterministic and self._store is not None

    def walk(
        self, batch_size: int, *, generator: torch.Generator | None = None, limit: int | None = None
    ) -> Iterator[Batch]:
        """Yield batches of samples read, or of those kept."""
        kept = self.is_kept
        count = min(self.samples, limit or self.samples)
        order = torch.randperm(self.samples, generator=generator) if generator is not None else torch.arange(count)
        stream = None if kept else RandomStream(drawn_seed(generator))
        for rows in order[:count].split(self.batch_size or batch_size):
            yield self.roles.batch(*self._read(rows, stream))

    def _read(self, rows: torch.Tensor, stream: RandomStream | None) -> Any:
        if self._store is not None:
            return self._store.rows(rows, self.sample)
        numbers = rows.tolist()
        if stream is None:
            return stacked([self.sample(row) for row in numbers], numbers, self.roles.name)
        with stream.active():
            return stacked([self.sample(row) for row in numbers], numbers, self.roles.name)

    def sample(self, row: int) -> Any:
        """Read one sample and return its inputs and targets, without an axis for the batch.

        Raises:
            TaskError: it cannot be read, is no pair of numbers, or its inputs hold missing values.
        """
        inputs, targets = self.roles.split(item(self.dataset, row, self.roles.name), row)
        refuse_missing(inputs, f"{self.roles.name} sample {row}: its inputs", self.roles.example_input)
        if not tensors_of(inputs) or not tensors_of(targets):
            raise TaskError(
                describe(
                    f"{self.roles.name} sample {row} is without {'a target' if tensors_of(inputs) else 'inputs'}",
                    expected="inputs and a target",
                    remedy="Pair each input with its target.",
                )
            )
        return inputs, targets


def item(dataset: Any, row: int, name: str) -> Any:
    """Return ``dataset[row]``.

    Raises:
        TaskError: the data set fails.
    """
    try:
        return dataset[row]
    except EspalierError:
        raise
    except Exception as error:
        raise TaskError(
            describe(
                f"{name} sample {row} cannot be read ({type(error).__name__}: {error})",
                expected=f"what data[{row}] gives",
                remedy="Try it in Python; mend the data set, or leave the sample out.",
            )
        ) from error


class KeptItems:
    """The items of a data set, each read once; for a loader with a collate function or a sampler of its own.

    Args:
        dataset: map-style.
        name: what the data are called in messages.
        known: items that were read already, by their places.
    """

    def __init__(self, dataset: Any, name: str, known: Sequence[tuple[int, Any]]) -> None:
        self._dataset = dataset
        self._name = name
        self._items = dict(known)

    def __len__(self) -> int:
        """Return how many items there are."""
        return len(self._dataset)

    def __getitem__(self, row: int) -> Any:
        """Return an item, read where it was not yet."""
        if row not in self._items:
            self._items[row] = item(self._dataset, row, self._name)
        found = self._items[row]
        # Collate functions pop keys: what is kept is not handed out itself.
        return copy.copy(found) if isinstance(found, dict | list) else found
