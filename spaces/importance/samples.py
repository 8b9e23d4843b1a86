"""Training samples that criteria may look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..inputs import Inputs, map_tensors, tensors_of

Loss = Callable[[Any, Any], torch.Tensor]

RANKING_SAMPLES = 256
"""At most so many training samples are looked at to rank channels for a search."""


@dataclass(frozen=True)
class Samples:
    """Batches of training data and the loss, for criteria that look at gradients or activations."""

    batches: Sequence[tuple[Inputs, Any]]
    loss: Loss


def batch_size(batch: Any) -> int | None:
    """Return how many samples ``batch`` holds along dimension 0 of its tensors, ``None`` where they disagree.

    Tensors without dimensions are shared by all samples.
    """
    sizes = {len(t) for t in tensors_of(batch) if t.dim()}
    return sizes.pop() if len(sizes) == 1 else None


def take(batch: Any, start: int, stop: int) -> Any:
    """Return samples ``start`` to ``stop`` of a batch whose :func:`batch_size` is known."""
    return map_tensors(lambda t: t[start:stop] if t.dim() else t, batch)


def at_most(batches: Iterable[tuple[Inputs, Any]], limit: int) -> list[tuple[Inputs, Any]]:
    """Return the first ``limit`` samples; of batches that cannot be cut, the whole of the last one."""
    taken: list[tuple[Inputs, Any]] = []
    seen = 0
    for batch in batches:
        size = batch_size(batch)
        taken.append(batch if size is None else take(batch, 0, limit - seen))
        seen += size or next((len(t) for t in tensors_of(batch) if t.dim()), 1)
        if seen >= limit:
            break
    return taken
