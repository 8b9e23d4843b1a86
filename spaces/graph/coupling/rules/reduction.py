"""Reductions: over space they change nothing; across channels they mix them."""

from __future__ import annotations

from typing import Any

import torch

from ..atoms import ANY
from ..state import Tracker
from ..values import Value, as_activation, compact
from .rule import tensors

REDUCTIONS = frozenset(
    """mean sum amax amin max min var std var_mean std_mean norm linalg_vector_norm prod any all argmax argmin logsumexp
    _softmax softmax _log_softmax _safe_softmax cumsum cumprod sort topk median
    nansum nanmedian mode kthvalue aminmax""".split()
)


def reduce(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    """Return the labels that the remaining dimensions keep; mixed ones are noted."""
    source = args[0]
    value = tracker.value(source)
    if value.labels is None:
        outputs = tensors(out)
        return [Value(tuple(t.shape), None, value.sources if t.shape == source.shape else ()) for t in outputs]
    labels = tracker.atoms.roots(as_activation(value, tracker.atoms))
    dims = dims_of(func, args, kwargs, source.dim())
    kept = labels
    for dim in dims:
        if labels.shape[dim] > 1:
            tracker.atoms.mix(labels.unique().tolist())
            kept = _together(tracker, kept, dim) if tensors(out)[0].shape != source.shape else _agreed(kept, dim)
    return [_shaped(kept, labels, dims, t) for t in tensors(out)]


def dims_of(func: Any, args: Any, kwargs: Any, rank: int) -> list[int]:
    """Return the dimensions that an operation is given as ``dim``; without any, all of ``rank``."""
    named = {a.name: i for i, a in enumerate(func._schema.arguments)}
    for name in ("dim", "dims"):
        if name in named:
            position = named[name]
            default = func._schema.arguments[position].default_value
            given = args[position] if position < len(args) else kwargs.get(name, default)
            if given is None or given == []:
                return list(range(rank))
            return [d % rank for d in ([given] if isinstance(given, int) else given)] if rank else []
    return list(range(rank))


def _together(tracker: Tracker, labels: torch.Tensor, dim: int) -> torch.Tensor:
    """Unite what is reduced to one value where there are several: largest of pairs go as pairs.

    Goodfellow et al., "Maxout Networks", ICML 2013, arXiv:1302.4389.
    """
    rows = labels.movedim(dim, -1)
    if rows[..., 0].numel() < 2:
        return _agreed(labels, dim)
    made = [tracker.atoms.unite_all(row) for row in rows.reshape(-1, rows.shape[-1]).tolist()]
    return torch.tensor(made).view(rows.shape[:-1]).unsqueeze(dim)


def _agreed(labels: torch.Tensor, dim: int) -> torch.Tensor:
    low, high = labels.amin(dim, keepdim=True), labels.amax(dim, keepdim=True)
    return torch.where(low == high, low, ANY)


def _shaped(kept: torch.Tensor, labels: torch.Tensor, dims: list[int], out: torch.Tensor) -> Value:
    if out.dim() == labels.dim():
        full = all(out.shape[d] == 1 or labels.shape[d] in (1, out.shape[d]) for d in range(out.dim()))
        same = any(out.shape[d] > 1 for d in dims)
        return Value(tuple(out.shape), compact(labels if same and full else kept))
    left = [d for d in range(kept.dim()) if d not in dims]
    if len(left) != out.dim():
        return Value.uniform(out.shape)
    for dim in sorted(dims, reverse=True):
        kept = kept.select(dim, 0)
    return Value(tuple(out.shape), compact(kept))
