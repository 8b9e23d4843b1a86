"""The tensors in what random networks return, found by rules of their own and not by those under test."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Written:
    """One tensor of a network's outputs."""

    place: str
    """Types and keys on the way to it."""
    tensor: torch.Tensor

    @property
    def form(self) -> tuple[str, tuple[int, ...], torch.dtype]:
        """What pruning must leave as it is."""
        return self.place, tuple(self.tensor.shape), self.tensor.dtype


def written(outputs: Any) -> list[Written]:
    """Return every tensor of outputs in one of the forms of :mod:`~.outputs`, in the order of their fields."""
    found = list(_walk(outputs, ""))
    assert found, f"no tensor in an output of type {type(outputs).__name__}"
    return found


def _walk(item: Any, place: str) -> Iterator[Written]:
    if item is None or isinstance(item, torch.Tensor):
        if item is not None:
            yield Written(place, item)
        return
    if isinstance(item, dict):
        parts = item.items()
    elif isinstance(item, tuple | list):
        parts = enumerate(item)
    else:
        parts = vars(item).items()
    for key, part in parts:
        yield from _walk(part, f"{place}/{type(item).__name__}.{key}")


def distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the largest difference relative to the largest value that is wanted; values that are alike are not apart.

    Infinity where shapes differ, or where values that are not finite stand at other places.
    """
    if found.shape != wanted.shape:
        return math.inf
    one, other = found.detach().double(), wanted.detach().double()
    alike = (one == other) | (one.isnan() & other.isnan())
    apart = (one - other).abs()[~alike]
    if not apart.numel():
        return 0.0
    scale = float(other[other.isfinite()].abs().max()) if bool(other.isfinite().any()) else 0.0
    return float(apart.max()) / (scale or 1.0) if bool(apart.isfinite().all()) else math.inf
