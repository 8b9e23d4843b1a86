"""Samples that are tensors already."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from ....spaces.inputs import map_tensors, tensors_of
from .base import Batch
from .roles import UNKNOWN, Roles


@dataclass(frozen=True)
class TensorBatches:
    """Samples along dimension 0 of tensors, or of a structure of tensors."""

    inputs: Any
    targets: Any
    roles: Roles = UNKNOWN
    batch_size: int | None = None
    """Of a loader that the data came in; other sizes are not taken."""

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
        size = self.batch_size or batch_size
        for start in range(0, count, size):
            stop = min(start + size, count)
            rows = slice(start, stop) if order is None else order[start:stop]
            inputs, targets = map_tensors(lambda t, r=rows: t[r], (self.inputs, self.targets))
            yield self.roles.batch(inputs, targets)
