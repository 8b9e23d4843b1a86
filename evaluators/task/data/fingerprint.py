"""Digests that tell one task's data from another's, made of what stays the same at each reading."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import ConcatDataset, Subset

from ....spaces.inputs import map_tensors, tensors_of
from .base import Batches
from .datasets import LEAST_PROBES, DatasetBatches, Probe
from .loaders import LoaderBatches, ReadyBatches
from .randomness import RandomStream
from .tensors import TensorBatches
from .values import equal

_PROBES = 64
_LISTS = ("samples", "imgs", "files", "filenames", "image_files", "paths", "image_paths", "images")
"""What data sets of files call the list of them."""


def fingerprint_of_data(found: Batches, *, probes: int = _PROBES) -> str:
    """Return a digest of the number of samples and of what stays the same of the data.

    Of tensors that is ``probes`` samples, spread evenly. Of a data set it is its type, its files' names and sizes and,
    where two readings agree, samples that were read. A ``DataLoader`` is told by its data set.
    """
    digest = hashlib.sha256(str(found.samples).encode())
    if isinstance(found, TensorBatches):
        for row in torch.linspace(0, found.samples - 1, min(probes, found.samples)).long().unique().tolist():
            _add(digest, map_tensors(lambda t, r=row: t[r], (found.inputs, found.targets)))
    elif isinstance(found, DatasetBatches):
        _add_dataset(digest, found.dataset, found.probe)
    elif isinstance(found, LoaderBatches):
        _add_dataset(digest, found.loader.dataset, found.probe)
    elif isinstance(found, ReadyBatches):
        _add_elements(digest, found, probes)
    return digest.hexdigest()[:16]


def is_random(found: Batches) -> bool:
    """Return whether samples change from one reading to the next, as far as some of them tell."""
    if isinstance(found, DatasetBatches | LoaderBatches):
        return not found.probe.deterministic
    return isinstance(found, ReadyBatches) and not equal(_first(found, 1), _first(found, 2))


def _add_dataset(digest: Any, dataset: Any, probe: Probe) -> None:
    for line in _description(dataset):
        digest.update(line.encode())
    if probe.deterministic:
        # Slow data sets are not probed to the end: the first few samples are the same ones on any machine.
        for _, sample in probe.samples[:LEAST_PROBES]:
            _add(digest, sample)


def _description(dataset: Any) -> Iterator[str]:
    yield type(dataset).__qualname__
    if isinstance(dataset, Subset):
        yield hashlib.sha256(repr([int(i) for i in dataset.indices]).encode()).hexdigest()
        yield from _description(dataset.dataset)
    elif isinstance(dataset, ConcatDataset):
        for part in dataset.datasets:
            yield f"{len(part)}"  # pyright: ignore[reportArgumentType] - ConcatDataset asks the same of each
            yield from _description(part)
    else:
        yield from _files(dataset)


def _files(dataset: Any) -> Iterator[str]:
    """Yield names and sizes of files that a data set lists, spread evenly; of its folder's entries where it lists none.

    Names are those of the file and of its folder: data may lie elsewhere on another machine.
    """
    for name in _LISTS:
        listed = getattr(dataset, name, None)
        if isinstance(listed, Sequence) and not isinstance(listed, str) and listed and _path(listed[0]) is not None:
            yield f"{name}: {len(listed)}"
            rows = np.unique(np.linspace(0, len(listed) - 1, min(_PROBES, len(listed))).astype(int))
            yield from (_told(dataset, _path(listed[row])) for row in rows)
            return
    root = getattr(dataset, "root", None)
    if isinstance(root, str | Path) and Path(root).is_dir():
        yield from (_told(dataset, path) for path in islice(sorted(Path(root).iterdir()), _PROBES))


def _path(entry: Any) -> Path | None:
    """Return the path that an entry of such a list is, or begins with, as in ``(path, class)``."""
    first = entry[0] if isinstance(entry, tuple | list) and entry else entry
    return Path(first) if isinstance(first, str | Path) else None


def _told(dataset: Any, path: Path | None) -> str:
    if path is None:
        return ""
    root = getattr(dataset, "root", None)
    places = [path, *([Path(root) / path] if isinstance(root, str | Path) else [])]
    size = next((place.stat().st_size for place in places if place.is_file()), None)
    return f"{path.parent.name}/{path.name}: {size}"


def _add_elements(digest: Any, found: ReadyBatches, probes: int) -> None:
    digest.update(type(found.source).__qualname__.encode())
    one, other = _first(found, 1), _first(found, 2)
    if equal(one, other):
        for element in one[:probes]:
            _add(digest, element)


def _first(found: ReadyBatches, seed: int, count: int = 4) -> list[Any]:
    source: Iterable[Any] = found.source
    with RandomStream(seed).active():
        return [found.roles.split(element) for element in islice(iter(source), count)]


def _add(digest: Any, sample: Any) -> None:
    for tensor in tensors_of(sample):
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    if not tensors_of(sample):
        _add_plain(digest, sample)


def _add_plain(digest: Any, sample: Any) -> None:
    """Add the values of a data set's own items, before they are collated."""
    if isinstance(sample, Mapping):
        for key, value in sample.items():
            digest.update(str(key).encode())
            _add_plain(digest, value)
    elif isinstance(sample, tuple | list):
        for value in sample:
            _add_plain(digest, value)
    elif isinstance(sample, torch.Tensor | np.ndarray) or hasattr(sample, "tobytes"):
        array = sample.detach().cpu().contiguous().numpy() if isinstance(sample, torch.Tensor) else sample
        digest.update(array.tobytes())
    elif isinstance(sample, str | bytes | int | float):
        digest.update(repr(sample).encode())
