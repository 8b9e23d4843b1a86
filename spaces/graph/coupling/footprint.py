"""Which operations a network applies to which of its parameters and buffers: whether two passes run the same layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from .rules.reduction import REDUCTIONS

_ACROSS = REDUCTIONS | frozenset("flip roll index index_select gather scatter cat stack permute".split())
"""Operations without parameters that may put one channel into another's place, or mix several."""


@dataclass
class Footprint:
    """The operations of one pass that read or write parameters and buffers, or act across channels."""

    names: dict[int, str]
    """Of tensors, by identity; counters and other single numbers are left out."""
    touched: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    @classmethod
    def of(cls, named: Mapping[str, torch.Tensor]) -> Footprint:
        """Return an empty one for a network's tensors."""
        names: dict[int, str] = {}
        for name, tensor in named.items():
            if tensor.dim():
                names.setdefault(id(tensor), name)
        return cls(names)

    def note(self, func: Any, given: list[torch.Tensor]) -> None:
        """Note an operation."""
        names = sorted(self.names[id(t)] for t in given if id(t) in self.names)
        name = func.overloadpacket.__name__.rstrip("_")
        if names or name in _ACROSS:
            # A normalisation is called otherwise where it takes its statistics from the batch.
            self.touched.append(("batch_norm" if "batch_norm" in name else name, tuple(names)))
