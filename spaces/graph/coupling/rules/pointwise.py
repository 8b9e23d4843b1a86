"""Element-wise operations: what meets at one place can only go together."""

from __future__ import annotations

from typing import Any

import torch

from ...freeze_reasons import FreezeCode
from ..atoms import ANY, FIXED, unique_pairs
from ..state import Tracker
from ..values import Source, Value, compact, meet
from .crossing import along, layered, settle
from .rule import opaque, tensors

POINTWISE = frozenset(
    "_prelu_kernel prelu masked_fill dropout native_dropout where complex polar _conj conj_physical".split()
)
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
    layers: list[torch.Tensor] = []
    seen = (1,) * len(shape)
    for value in activations:
        own = (1,) * (len(shape) - len(value.shape)) + value.shape
        layers = _crossed(tracker, (layers, seen), (_varied(value, len(shape)), own))
        seen = tuple(torch.broadcast_shapes(seen, own))
    for source in (_aligned(s, len(shape)) for value in parameters for s in value.sources):
        for labels in layers or [torch.full([1] * len(shape), ANY)]:
            meet(source, labels, tracker.atoms)
        layers = _with_own(tracker, source, layers, seen)
    return layered(tracker, shape, [compact(tracker.atoms.roots(labels)) for labels in layers])


def _varied(value: Value, dims: int) -> list[torch.Tensor]:
    return [_lifted(labels, dims) for labels in value.layers if bool((labels != ANY).any())]


def _crossed(tracker: Tracker, left: _Layers, right: _Layers) -> list[torch.Tensor]:
    """Unite the labels of two operands layer by layer; what lies along different dimensions stays apart, as in an outer
    product: Gu and Dao, "Mamba", 2023, arXiv:2312.00752, make states of inner channels so."""
    (ones, own), (others, beside) = left, right
    if not ones or not others:
        return [*ones, *others]
    met = [[j for j, other in enumerate(others) if not _apart(one, other)] for one in ones]
    single = len(ones) == 1 or len(others) == 1
    if not single and (any(len(found) > 1 for found in met) or len({j for f in met for j in f}) < sum(map(len, met))):
        settle(tracker, [*ones, *others])
        return []
    found = []
    for one, partners in zip(ones, met, strict=True):
        for j in partners:
            head = _heads(tracker, one, others[j])
            one = _join(tracker, (one, own), (others[j], beside)) if head is None else head
        found.append(one)
    joined = {j for partners in met for j in partners}
    return [*found, *(other for j, other in enumerate(others) if j not in joined)]


def _heads(tracker: Tracker, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor | None:
    """Unite all of one head where every channel of it in one operand meets every one in the other, if that is so."""
    mine, theirs = along(one), along(other)
    if not (mine & theirs and mine - theirs and theirs - mine):
        return None
    tracker.atoms.unite_pairs(one, other)
    return compact(tracker.atoms.roots(one))


def _apart(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Return whether two layers lie along different dimensions."""
    mine, theirs = along(one), along(other)
    return bool(mine and theirs and not mine & theirs)


def _with_own(
    tracker: Tracker, source: Source, layers: list[torch.Tensor], seen: tuple[int, ...]
) -> list[torch.Tensor]:
    """Add a layer for each dimension of a parameter that broadcasting puts beside the channels it meets."""
    taken = {d for layer in layers for d in along(layer)}
    for dim, index in enumerate(source.indices if taken else ()):
        lies = along(index)
        if source.shape[dim] > 1 and lies and not lies & taken and all(seen[d] == 1 for d in lies):
            layers = [*layers, tracker.atoms.of(source.tensor, dim, source.shape[dim])[index]]
            taken |= lies
    return layers


_Layers = tuple[list[torch.Tensor], tuple[int, ...]]
"""Labels of an operand that differ anywhere, layer by layer, and the full shape that they stand for."""
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
