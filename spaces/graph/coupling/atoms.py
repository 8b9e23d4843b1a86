"""Which positions of which tensors can only be removed together: a union-find over all of them."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from ..freeze_reasons import FreezeCode, FreezeReason

Key = tuple[str, int]
"""A tensor's qualified name and one of its dimensions."""
FIXED = 0
"""Label of what may not be removed: the network's inputs, and padding of a fixed width."""
ANY = -1
"""Label of what goes along with anything: spatial constants, values without channels."""


class Atoms:
    """One atom for each index along each dimension of each tensor; united where one cannot go without the other."""

    def __init__(self) -> None:
        self._first: dict[Key, int] = {}
        self._sizes: dict[Key, int] = {}
        self._parent: list[int] = [FIXED]
        self._reasons: dict[int, FreezeReason] = {FIXED: FreezeCode.INPUT.because()}
        self._mixed: set[int] = set()

    def of(self, tensor: str, dim: int, size: int) -> torch.Tensor:
        """Return the atoms along ``dim`` of a tensor, shape ``(size,)``; the same ones at every call."""
        key = (tensor, dim)
        if key not in self._first:
            self._first[key] = len(self._parent)
            self._sizes[key] = size
            self._parent.extend(range(len(self._parent), len(self._parent) + size))
        first = self._first[key]
        return torch.arange(first, first + size)

    def known(self, key: Key) -> torch.Tensor:
        """Return the atoms along a dimension that has been labelled."""
        return self.of(*key, self._sizes[key])

    def find(self, atom: int) -> int:
        """Return the representative of an atom's class."""
        parent = self._parent
        root = atom
        while parent[root] != root:
            root = parent[root]
        while parent[atom] != root:
            parent[atom], atom = root, parent[atom]
        return root

    def roots(self, labels: torch.Tensor) -> torch.Tensor:
        """Return ``labels`` with each atom replaced by its representative; ``ANY`` stays."""
        found, inverse = torch.unique(labels, return_inverse=True)
        mapped = torch.tensor([ANY if a == ANY else self.find(a) for a in found.tolist()], dtype=torch.long)
        return mapped[inverse]

    def unite(self, left: int, right: int) -> None:
        """Make two atoms one class; uniting with ``FIXED`` makes the other one fixed."""
        if ANY in (left, right):
            return
        if FIXED in (left, right):
            self.fix([left, right], self._reasons[FIXED])
            return
        low, high = sorted((self.find(left), self.find(right)))
        if low == high:
            return
        self._parent[high] = low
        if high in self._reasons:
            self._reasons.setdefault(low, self._reasons.pop(high))
        if high in self._mixed:
            self._mixed.add(low)

    def unite_all(self, atoms: Iterable[int]) -> int:
        """Make all atoms one class and return its representative, or ``ANY`` where there is none."""
        found = [a for a in atoms if a != ANY]
        for atom in found[1:]:
            self.unite(found[0], atom)
        return self.find(found[0]) if found else ANY

    def unite_pairs(self, left: torch.Tensor, right: torch.Tensor) -> None:
        """Unite two label tensors that broadcast together, element by element."""
        for a, b in unique_pairs(left, right):
            self.unite(a, b)

    def fix(self, atoms: Iterable[int], reason: FreezeReason) -> None:
        """Forbid the removal of atoms; of several reasons the first stays."""
        for atom in set(atoms) - {ANY, FIXED}:
            self._reasons.setdefault(self.find(atom), reason)

    def mix(self, atoms: Iterable[int]) -> None:
        """Note that a normalisation mixes these atoms, so that removing one changes what the others become."""
        self._mixed.update(self.find(a) for a in set(atoms) - {ANY, FIXED})

    def reason(self, atom: int) -> FreezeReason | None:
        """Return why an atom's class may not be removed, or ``None`` where it may."""
        return self._reasons.get(self.find(atom))

    def mixed(self) -> set[int]:
        """Return the representatives of the classes that a normalisation across channels mixes with others."""
        return {self.find(a) for a in self._mixed}

    def members(self) -> dict[int, dict[Key, list[int]]]:
        """Return every class: its representative, and its indices by tensor and dimension, in order of first use."""
        found: dict[int, dict[Key, list[int]]] = {}
        for key, first in self._first.items():
            for index in range(self._sizes[key]):
                found.setdefault(self.find(first + index), {}).setdefault(key, []).append(index)
        return found


def unique_pairs(left: torch.Tensor, right: torch.Tensor) -> list[tuple[int, int]]:
    """Return the different pairs of values of two tensors that broadcast together."""
    left, right = torch.broadcast_tensors(left, right)
    low, span = int(right.min()) if right.numel() else 0, 1 + int(right.max() - right.min()) if right.numel() else 1
    # One number for each pair: sorting numbers is many times faster than sorting columns.
    pairs = torch.unique(left * span + (right - low))
    firsts = torch.div(pairs, span, rounding_mode="floor")
    return list(zip(firsts.tolist(), (pairs - firsts * span + low).tolist(), strict=True))
