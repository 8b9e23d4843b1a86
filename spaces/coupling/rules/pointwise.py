"""Element-wise operations: what meets at one place can only go together."""

from __future__ import annotations

from typing import Any

import torch

from ...freeze_reasons import FreezeCode
from ..atoms import ANY, FIXED, unique_pairs
from ..state import Tracker
from ..values import Source, Value, compact, meet
from .rule import opaque, tensors

POINTWISE = frozenset({"_prelu_kernel", "prelu", "masked_fill", "dropout", "native_dropout", "where"})
"""Operations that are element-wise but not tagged so."""


def is_pointwise(func: Any) -> bool:
    """Return whether an operation works element by element."""
    return torch.Tag.pointwise in func.tags or func.overloadpacket.__name__.rstrip("_") in POINTWISE


def pointwise(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    """Unite labels at the same places; parameters are united with the labels that they stand beside."""
    outputs = tensors(out)
    if len(outputs) != 1:
        return opaque(out)
    shape = outputs[0].shape
    inputs = [t for t in tensors((args, kwargs)) if t.dim() <= len(shape)]
    _note_padding(tracker, inputs)
    return [combine(tracker, [tracker.value(t) for t in inputs], tuple(shape))]


def _note_padding(tracker: Tracker, inputs: list[torch.Tensor]) -> None:
    """Note what padding is added to: why it cannot be removed is then known."""
    for added in (tracker.padding[id(t)] for t in inputs if id(t) in tracker.padding):
        for labels in (tracker.value(t).labels for t in inputs if id(t) not in tracker.padding):
            if labels is not None and labels.dim() == added.dim():
                beside, where = torch.broadcast_tensors(labels, added)
                tracker.beside_padding.update(beside[where].unique().tolist())


def combine(tracker: Tracker, operands: list[Value], shape: tuple[int, ...]) -> Value:
    """Return the value of operands that are broadcast together to ``shape``."""
    activations = [v for v in operands if v.labels is not None]
    parameters = [v for v in operands if v.labels is None]
    if not activations:
        return Value(shape, None, tuple(_aligned(s, len(shape)) for v in parameters for s in v.sources))
    labels, seen = torch.full([1] * len(shape), ANY, dtype=torch.long), (1,) * len(shape)
    for value in activations:
        own = (1,) * (len(shape) - len(value.shape)) + value.shape
        labels = _join(tracker, (labels, seen), (_lifted(value.labels, len(shape)), own))
        seen = tuple(torch.broadcast_shapes(seen, own))
    for value in parameters:
        for source in value.sources:
            meet(_aligned(source, len(shape)), labels, tracker.atoms)
    return Value(shape, compact(tracker.atoms.roots(labels)))


_Operand = tuple[torch.Tensor, tuple[int, ...]]
"""Labels, and the full shape that they stand for."""


def _join(tracker: Tracker, left: _Operand, right: _Operand) -> torch.Tensor:
    """Unite the labels of two operands that broadcast together and return those of the result.

    A label that broadcasting puts beside several others belongs to a scalar, such as the one channel of a spatial gate:
    it goes with none of them and cannot be removed.
    """
    one, other = tracker.atoms.roots(left[0]), tracker.atoms.roots(right[0])
    one, other = _acting(one, left[1], other), _acting(other, right[1], one)
    pairs = [(a, b) for a, b in unique_pairs(one, other) if ANY not in (a, b) and a != b]
    partners: dict[int, set[int]] = {}
    for a, b in pairs:
        partners.setdefault(a, set()).add(b)
        partners.setdefault(b, set()).add(a)
    spread = [_spread(one, left[1], right[1]), _spread(other, right[1], left[1])]
    scalars = {a for a, b in partners.items() if len(b) > 1 and a != FIXED and any(a in labels for labels in spread)}
    for a, b in pairs:
        if a not in scalars and b not in scalars:
            tracker.atoms.unite(a, b)
    if tracker.last:
        tracker.atoms.fix(scalars, FreezeCode.SCALAR.because())
    out = torch.where(_any_of(one, scalars | {ANY}), other, one)
    return torch.where(_any_of(out, scalars), ANY, out)


def _acting(labels: torch.Tensor, shape: tuple[int, ...], beside: torch.Tensor) -> torch.Tensor:
    """Return ``ANY`` for inputs of the network, such as masks, that act alike on all the channels beside them."""
    varying = [d for d in range(beside.dim()) if beside.shape[d] > 1]
    alike = labels.numel() == 1 and int(labels) == FIXED and varying and all(shape[d] == 1 for d in varying)
    return torch.full_like(labels, ANY) if alike else labels


def _spread(labels: torch.Tensor, shape: tuple[int, ...], beside: tuple[int, ...]) -> set[int]:
    """Return the labels of an operand that broadcasting repeats along some dimension."""
    repeated = any(own == 1 and other > 1 for own, other in zip(shape, beside, strict=True))
    return set(labels.unique().tolist()) if repeated else set()


def _any_of(labels: torch.Tensor, wanted: set[int]) -> torch.Tensor:
    return torch.isin(labels, torch.tensor(sorted(wanted), dtype=torch.long))


def _lifted(part: torch.Tensor | None, dims: int) -> torch.Tensor:
    if part is None:
        return torch.full([1] * dims, ANY, dtype=torch.long)
    return part.view([1] * (dims - part.dim()) + list(part.shape))


def _aligned(source: Source, dims: int) -> Source:
    return Source(source.tensor, source.shape, tuple(_lifted(i, dims) for i in source.indices))
