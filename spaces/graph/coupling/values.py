"""What is known about the elements of one tensor while a network runs: which atoms they stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..freeze_reasons import FreezeCode
from .atoms import ANY, FIXED, Atoms, unique_pairs


@dataclass(frozen=True)
class Source:
    """Where the elements of a value come from, if from a parameter or buffer."""

    tensor: str
    shape: tuple[int, ...]
    indices: tuple[torch.Tensor, ...]
    """For each dimension of that tensor: the index of every element along it, compact like labels."""


@dataclass(frozen=True)
class Value:
    """Labels of a tensor's elements, compact: as many dimensions as the tensor, each of full size or 1."""

    shape: tuple[int, ...]
    labels: torch.Tensor | None
    """``None`` for what is computed from parameters and constants alone."""
    sources: tuple[Source, ...] = ()
    crossed: tuple[torch.Tensor, ...] = ()
    """Further labels of the same elements, along other dimensions: an outer product has two kinds of channels."""
    noise: bool = False
    """Whether it is a constant whose values say nothing of positions: random, or computed from what is no constant."""

    @property
    def layers(self) -> tuple[torch.Tensor, ...]:
        """All labels: of an element of an outer product one in each layer."""
        return () if self.labels is None else (self.labels, *self.crossed)

    @property
    def is_constant(self) -> bool:
        """Whether neither inputs nor parameters go into it."""
        return self.labels is None and not self.sources

    @classmethod
    def uniform(cls, shape: torch.Size | tuple[int, ...], label: int = ANY) -> Value:
        """Return a value whose elements all have one label."""
        return cls(tuple(shape), _uniform(shape, label))

    @classmethod
    def constant(cls, shape: torch.Size | tuple[int, ...]) -> Value:
        """Return the value of a tensor that neither inputs nor parameters go into."""
        return cls(tuple(shape), None)

    @classmethod
    def parameter(cls, name: str, tensor: torch.Tensor) -> Value:
        """Return the value of a parameter or buffer."""
        shape = tuple(tensor.shape)
        indices = tuple(_along(torch.arange(size), dim, len(shape)) for dim, size in enumerate(shape))
        return cls(shape, None, (Source(name, shape, indices),))


def _uniform(shape: torch.Size | tuple[int, ...], label: int = ANY) -> torch.Tensor:
    return torch.full([1] * len(shape), label, dtype=torch.long)


def _along(values: torch.Tensor, dim: int, dims: int) -> torch.Tensor:
    return values.view([-1 if d == dim else 1 for d in range(dims)])


def compact(full: torch.Tensor) -> torch.Tensor:
    """Return ``full`` with every dimension along which nothing changes reduced to size 1."""
    for dim in range(full.dim()):
        if full.shape[dim] > 1:
            first = full.narrow(dim, 0, 1)
            if bool((full == first).all()):
                full = first
    return full


def moved(
    value: Value,
    shape: torch.Size | tuple[int, ...],
    move: Callable[[torch.Tensor], torch.Tensor],
    *,
    whole: bool = True,
) -> Value:
    """Return the value after its elements were moved about by ``move``, which takes them in full unless told not to."""

    def apply(part: torch.Tensor) -> torch.Tensor:
        if not whole:
            return compact(move(part))
        # One more than the label, so that the zeros that a move fills in (tril, im2col) come out as ANY.
        # Of no elements (an expert that is not chosen) one is moved, so that the channels are kept in sight.
        full = part.expand([max(size, 1) for size in value.shape]).contiguous() + 1
        try:
            return compact(move(full)) - 1
        except (NotImplementedError, RuntimeError):
            # Some moves (im2col) know floating-point numbers only; these hold every label exactly.
            return compact(move(full.double()).long()) - 1

    labels = None if value.labels is None else apply(value.labels)
    sources = tuple(Source(s.tensor, s.shape, tuple(apply(i) for i in s.indices)) for s in value.sources)
    return Value(tuple(shape), labels, sources)


def as_activation(value: Value, atoms: Atoms) -> torch.Tensor:
    """Return the labels of a value; one computed from a parameter alone is labelled along its last real dimension."""
    if value.labels is not None:
        return value.labels
    if not value.sources:
        return _uniform(value.shape)
    source = value.sources[0]
    for dim in reversed(range(len(source.shape))):
        index = source.indices[dim]
        if index.numel() > 1 and index.shape[-1] == index.numel():
            return atoms.of(source.tensor, dim, source.shape[dim])[index]
    return _uniform(value.shape)


def follow(leader: Source, others: tuple[Source, ...], atoms: Atoms) -> None:
    """Unite the dimensions of other parameters with those of the one that they make a weight with."""
    for other in others:
        for dim, index in enumerate(leader.indices):
            if leader.shape[dim] > 1:
                meet(other, atoms.of(leader.tensor, dim, leader.shape[dim])[index], atoms)


def by_index(labels: torch.Tensor, dim: int, size: int, atoms: Atoms) -> torch.Tensor:
    """Return one label for each index along ``dim``, shape ``(size,)``; several that meet at one index are united."""
    rows = atoms.roots(labels).movedim(dim, 0).flatten(1)
    low = torch.where(rows == ANY, torch.iinfo(torch.long).max, rows).amin(1)
    high = rows.amax(1)
    one = torch.where(high == ANY, high, low)
    for row in ((low != high) & (high != ANY)).nonzero().flatten().tolist():
        one[row] = atoms.unite_all(rows[row].unique().tolist())
    return one.expand(size)


def meet(source: Source, labels: torch.Tensor, atoms: Atoms) -> None:
    """Unite a parameter's indices with the labels that they stand beside, along each dimension that follows them."""
    roots = atoms.roots(labels)
    for dim, index in enumerate(source.indices):
        if source.shape[dim] < 2 or (_crosses(index, roots) and bool((roots != roots.flatten()[0]).any())):
            continue
        partners: dict[int, set[int]] = {}
        for position, label in unique_pairs(index, roots):
            partners.setdefault(position, set()).add(label)
        if all(len(p) == 1 for p in partners.values()) and any(p != {ANY} for p in partners.values()):
            own = atoms.of(source.tensor, dim, source.shape[dim]).tolist()
            for position, (label,) in partners.items():
                if label == FIXED:
                    atoms.fix([own[position]], FreezeCode.FIXED_CHANNELS.because())
                else:
                    atoms.unite(own[position], label)


def _crosses(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Return whether two tensors vary along different dimensions, so that everything in one meets all of the other."""
    return not any(a > 1 and b > 1 for a, b in zip(reversed(left.shape), reversed(right.shape), strict=False))
