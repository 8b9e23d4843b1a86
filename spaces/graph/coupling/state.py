"""What is known so far while a network runs: the value of every tensor seen, and the atoms united."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch

from ..freeze_reasons import FreezeCode
from .atoms import Atoms
from .values import Value, compact


@dataclass
class Tracker:
    """The labels of one network."""

    atoms: Atoms = field(default_factory=Atoms)
    values: dict[int, Value] = field(default_factory=dict)
    kept: list[torch.Tensor] = field(default_factory=list)
    """Holds every tensor, so that no identity is used twice during a run."""
    boxes: list[torch.Tensor] = field(default_factory=list)
    """Labels of dimensions that a view has split: what is removed must stay a box."""
    produced: dict[tuple[str, int], None] = field(default_factory=dict)
    """Tensor dimensions that make channels, in order of first use."""
    whole_groups: set[str] = field(default_factory=set)
    """Weights of grouped convolutions of which whole groups are removed."""
    padding: dict[int, torch.Tensor] = field(default_factory=dict)
    """Where padding stands in tensors that were padded across channels: true there, compact like labels."""
    beside_padding: set[int] = field(default_factory=set)
    """Atoms of channels that padding is added to."""
    splits: list[tuple[tuple[int, ...], tuple[torch.Tensor, ...]]] = field(default_factory=list)
    """Where channels were split by given sizes: the sizes, and the labels of each part, one for each channel."""
    read: set[str] = field(default_factory=set)
    """Parameters and buffers that some operation was given."""
    indices: dict[int, tuple[str, list[int]]] = field(default_factory=dict)
    """Tensors that hold indices of channels: the operation that found them, and the channels' atoms."""
    picked: set[int] = field(default_factory=set)
    """Atoms of channels among which some were picked by their numbers."""
    decided: set[int] = field(default_factory=set)
    """Atoms of channels that became numbers which Python decides by."""
    last: bool = False
    """Whether this is the last pass, in which doubts are settled."""

    def forget_pass(self) -> None:
        """Forget what belongs to one pass alone; what was united stays."""
        for part in (self.values, self.boxes, self.splits, self.padding, self.indices, self.kept):
            part.clear()

    def value(self, tensor: torch.Tensor) -> Value:
        """Return what is known about ``tensor``; nothing is known of constants."""
        return self.values.get(id(tensor)) or Value.constant(tensor.shape)

    def set(self, tensor: torch.Tensor, value: Value) -> None:
        """Note what is known about ``tensor``."""
        self.values[id(tensor)] = value
        self.kept.append(tensor)

    def fix_decided(self) -> None:
        """Freeze what Python decides by; that it is told by its number comes first, as it says more."""
        self.atoms.fix(self.decided, FreezeCode.DECISION.because())

    def note_read(self, given: Iterable[torch.Tensor]) -> None:
        """Note which parameters and buffers an operation is given."""
        for tensor in given:
            self.read.update(source.tensor for source in self.value(tensor).sources)

    def produce(self, tensor: str, dim: int, size: int) -> torch.Tensor:
        """Return the atoms of channels that a parameter makes, shape ``(size,)``."""
        self.produced.setdefault((tensor, dim))
        return self.atoms.of(tensor, dim, size)

    def settle_boxes(self) -> None:
        """Unite what stands at the same place of a split dimension's parts, unless the parts are whole already.

        Heads have been united by the product that mixes them by now; what is left are halves and shuffled groups,
        which must stay of one size.
        """
        for box in self.boxes:
            roots = compact(self.atoms.roots(box))
            full = [d for d in range(roots.dim()) if roots.shape[d] > 1]
            if len(full) > 1:
                for column in roots.movedim(full[-1], 0).flatten(1):
                    self.atoms.unite_all(column.unique().tolist())
