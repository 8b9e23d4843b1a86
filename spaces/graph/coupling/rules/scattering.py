"""Scattering: rows are written, added or reduced to places along one dimension; along the others labels pass.

Graph networks gather messages so: Gilmer et al., "Neural Message Passing for Quantum Chemistry", ICML 2017,
arXiv:1704.01212.
"""

from __future__ import annotations

from typing import Any

import torch

from ...freeze_reasons import FreezeCode
from ..atoms import FIXED
from ..state import Tracker
from ..values import Value, as_activation
from .pointwise import combine
from .rule import Rule, opaque


def _scatter(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    """Unite what is there with what is added, where neither changes along the dimension scattered over."""
    dim, index = args[1], args[2]
    _fix_places(tracker, [index])
    given = args[3] if len(args) > 3 else kwargs.get("src", kwargs.get("source"))
    added = [given] if isinstance(given, torch.Tensor) and given.dim() == out.dim() else []
    return [_joined(tracker, [args[0], *added], dim, out)]


def _joined(tracker: Tracker, parts: list[torch.Tensor], dim: int, out: torch.Tensor) -> Value:
    shape = [1 if d == dim % max(1, out.dim()) else size for d, size in enumerate(out.shape)]
    found = []
    for part in parts:
        value = tracker.value(part)
        if value.labels is None and not value.sources:
            continue
        labels = as_activation(value, tracker.atoms)
        if out.dim() == 0 or labels.shape[dim] > 1:
            tracker.atoms.fix(labels.unique().tolist(), FreezeCode.SCATTERED.because())
            return Value.uniform(out.shape)
        found.append(Value(tuple(shape), labels))
    return Value(tuple(out.shape), combine(tracker, found, tuple(shape)).labels) if found else Value.constant(out.shape)


def _index_put(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    """Unite what is written with what is there along the dimensions that are not indexed."""
    whole, indices, given = args[0], args[1], args[2]
    _fix_places(tracker, [i for i in indices if i is not None])
    before, value = tracker.value(whole), tracker.value(given)
    labels = _beside(as_activation(value, tracker.atoms), indices, whole.dim())
    old = [before] if before.labels is not None or before.sources else []
    if labels is None or any(_varies(as_activation(b, tracker.atoms), indices) for b in old):
        for part in (value, *old):
            tracker.atoms.fix(as_activation(part, tracker.atoms).unique().tolist(), FreezeCode.SCATTERED.because())
        return opaque(out)
    if value.labels is None and not value.sources:
        return [before]
    shape = tuple(1 if d in _indexed(indices) else size for d, size in enumerate(whole.shape))
    parts = [Value(shape, labels), *(Value(shape, as_activation(b, tracker.atoms)) for b in old)]
    return [Value(tuple(out.shape), combine(tracker, parts, shape).labels)]


def _beside(labels: torch.Tensor, indices: Any, rank: int) -> torch.Tensor | None:
    """Return what is written as labels of the whole, of size 1 where it is indexed; ``None`` where that is unsure."""
    indexed = sorted(_indexed(indices))
    if not indexed or indexed != list(range(indexed[0], indexed[-1] + 1)):
        return None
    after = rank - 1 - indexed[-1]
    tail = labels.dim() - min(after, labels.dim())
    block = max(1 if i.dtype == torch.bool else i.dim() for i in indices if i is not None)
    before = labels.shape[: max(0, tail - block)]
    if any(size > 1 for size in labels.shape[len(before) : tail]) or len(before) > indexed[0]:
        return None
    lead = [1] * (indexed[0] - len(before))
    rest = list(labels.shape[tail:])
    return labels.reshape([*lead, *before, *[1] * len(indexed), *[1] * (after - len(rest)), *rest])


def _indexed(indices: Any) -> set[int]:
    """Return the dimensions that are indexed; a mask stands for as many as it has."""
    found, dim = set(), 0
    for index in indices:
        span = index.dim() if index is not None and index.dtype == torch.bool else 1
        if index is not None:
            found.update(range(dim, dim + span))
        dim += span
    return found


def _varies(labels: torch.Tensor, indices: Any) -> bool:
    return any(labels.shape[d] > 1 for d in _indexed(indices))


def _fix_places(tracker: Tracker, indices: list[torch.Tensor]) -> None:
    for index in indices:
        labels = tracker.value(index).labels
        if labels is not None and int(labels.max()) > FIXED:
            tracker.atoms.fix(labels.unique().tolist(), FreezeCode.SCATTER_PLACES.because())


SCATTERINGS: dict[str, Rule] = {
    **dict.fromkeys(("index_add", "index_copy", "index_fill", "index_reduce"), _scatter),
    **dict.fromkeys(("scatter", "scatter_add", "scatter_reduce"), _scatter),
    **dict.fromkeys(("index_put", "_index_put_impl", "_unsafe_index_put"), _index_put),
}
