"""Samples that were read once, within a limit of memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from ....errors import TaskError, describe
from ....spaces.inputs import map_tensors

KEPT_BYTES = 2**30
"""How much memory the samples that were read take at most, in each process: 1 GiB."""


@dataclass
class Memory:
    """A budget of memory that the parts of a task share.

    Args:
        limit: in bytes.
    """

    limit: int = KEPT_BYTES
    taken: int = field(default=0, init=False)

    def take(self, size: int | None) -> bool:
        """Take ``size`` bytes and return whether there was room for them."""
        if size is None or self.taken + size > self.limit:
            return False
        self.taken += size
        return True


class SampleStore:
    """Samples of one shape in tensors, filled as they are asked for.

    Args:
        count: how many samples there are.
        sample: one of them, ``(inputs, targets)`` without an axis for the batch.
        name: what the data are called in messages.
    """

    def __init__(self, count: int, sample: Any, name: str) -> None:
        self._like = sample
        self._name = name
        self._buffers = map_tensors(lambda t: t.new_empty((count, *t.shape)), sample)
        self._held = torch.zeros(count, dtype=torch.bool)

    def put(self, row: int, sample: Any) -> None:
        """Keep a sample.

        Raises:
            TaskError: it is shaped otherwise than the others.
        """
        leaves, _ = _flat(sample, self._like, row, self._name)
        for buffer, leaf in zip(tree_flatten(self._buffers)[0], leaves, strict=True):
            buffer[row] = leaf
        self._held[row] = True

    def rows(self, rows: torch.Tensor, read: Callable[[int], Any]) -> Any:
        """Return the samples of ``rows`` as a batch, after reading those that are not there yet."""
        for row in rows[~self._held[rows]].tolist():
            self.put(row, read(row))
        return map_tensors(lambda t: t[rows], self._buffers)


def stacked(samples: Sequence[Any], rows: Sequence[int], name: str) -> Any:
    """Return samples as a batch.

    Raises:
        TaskError: they are shaped otherwise than the first one.
    """
    flat = [_flat(sample, samples[0], row, name) for sample, row in zip(samples, rows, strict=True)]
    return tree_unflatten([torch.stack(leaves) for leaves in zip(*(f[0] for f in flat), strict=True)], flat[0][1])


def _flat(sample: Any, like: Any, row: int, name: str) -> tuple[list[torch.Tensor], TreeSpec]:
    (leaves, spec), (wanted, wanted_spec) = tree_flatten(sample), tree_flatten(like)
    if spec == wanted_spec and [(t.shape, t.dtype) for t in leaves] == [(t.shape, t.dtype) for t in wanted]:
        return leaves, spec
    raise TaskError(
        describe(
            f"{name} sample {row} is {_shapes(leaves)}, where others are {_shapes(wanted)}",
            expected="samples of one shape and type",
            remedy="Pad them to one length, or give a DataLoader whose collate_fn pads each batch.",
        )
    )


def _shapes(leaves: Sequence[torch.Tensor]) -> str:
    return ", ".join(f"{tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for t in leaves)
