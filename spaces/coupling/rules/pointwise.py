"""Element-wise operations: what meets at one place can only go together."""

from __future__ import annotations

from typing import Any

import torch

from ..atoms import ANY, FIXED, unique_pairs
from ..state import Tracker
from ..values import Source, Value, compact, meet
from .rule import opaque, tensors


def pointwise(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    """Unite labels at the same places; parameters are united with the labels that they stand beside."""
    outputs = tensors(out)
    if len(outputs) != 1:
        return opaque(out)
    shape = outputs[0].shape
    operands = [tracker.value(t) for t in tensors((args, kwargs)) if t.dim() <= len(shape)]
    return [combine(tracker, operands, tuple(shape))]


def combine(tracker: Tracker, operands: list[Value], shape: tuple[int, ...]) -> Value:
    """Return the value of operands that are broadcast together to ``shape``."""
    activations = [v for v in operands if v.labels is not None]
    parameters = [v for v in operands if v.labels is None]
    if not activations:
        return Value(shape, None, tuple(_aligned(s, len(shape)) for v in parameters for s in v.sources))
    labels = torch.full([1] * len(shape), ANY, dtype=torch.long)
    for value in activations:
        labels = join(tracker, labels, _lifted(value.labels, len(shape)))
    for value in parameters:
        for source in value.sources:
            meet(_aligned(source, len(shape)), labels, tracker.atoms)
    return Value(shape, compact(tracker.atoms.roots(labels)))


def join(tracker: Tracker, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Unite two label tensors that broadcast together and return the labels of the result.

    A label that stands beside several others belongs to a scalar, such as the one channel of a spatial gate: it goes
    with none of them and cannot be removed.
    """
    left, right = tracker.atoms.roots(left), tracker.atoms.roots(right)
    pairs = [(a, b) for a, b in unique_pairs(left, right) if ANY not in (a, b) and a != b]
    partners: dict[int, set[int]] = {}
    for a, b in pairs:
        partners.setdefault(a, set()).add(b)
        partners.setdefault(b, set()).add(a)
    wide = {a for a, b in partners.items() if len(b) > 1 and a != FIXED}
    scalars = {a for a in wide if _is_scalar(a, left, right)}
    for a, b in pairs:
        if a not in scalars and b not in scalars:
            tracker.atoms.unite(a, b)
    if tracker.last:
        tracker.atoms.fix(scalars, "one value of it acts on many channels")
    out = torch.where(_any_of(left, scalars | {ANY}), right, left)
    return torch.where(_any_of(out, scalars), ANY, out)


def _is_scalar(label: int, left: torch.Tensor, right: torch.Tensor) -> bool:
    # A label spread by broadcasting has size 1 along a dimension in which its partners differ.
    for own, other in ((left, right), (right, left)):
        if bool((own == label).any()):
            return any(own.shape[d] == 1 and other.shape[d] > 1 for d in range(own.dim()))
    return False


def _any_of(labels: torch.Tensor, wanted: set[int]) -> torch.Tensor:
    return torch.isin(labels, torch.tensor(sorted(wanted), dtype=torch.long))


def _lifted(part: torch.Tensor | None, dims: int) -> torch.Tensor:
    if part is None:
        return torch.full([1] * dims, ANY, dtype=torch.long)
    return part.view([1] * (dims - part.dim()) + list(part.shape))


def _aligned(source: Source, dims: int) -> Source:
    return Source(source.tensor, source.shape, tuple(_lifted(i, dims) for i in source.indices))
