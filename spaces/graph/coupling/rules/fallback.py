"""Operations without a rule of their own: pools and the like keep their channels; of others nothing may be removed."""

from __future__ import annotations

from typing import Any

import torch

from ..atoms import FIXED
from ..state import Tracker
from ..values import Value, as_activation, compact
from .numbering import why_not
from .rule import tensors

_MADE_TO_MEASURE = tuple("like new_ rand zeros ones full arange empty scalar_tensor eye linspace".split())


def is_made_to_measure(name: str) -> bool:
    """Return whether an operation makes new values, for which it reads at most the sizes of others."""
    return any(part in name for part in _MADE_TO_MEASURE)


def fallback(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    """Keep labels that stand along dimensions which the operation leaves as they are; fix all others."""
    name = func.overloadpacket.__name__
    inputs = tensors((args, kwargs))
    if not inputs or is_made_to_measure(name):
        return [Value.constant(t.shape) for t in tensors(out)]
    labels = as_activation(tracker.value(inputs[0]), tracker.atoms)
    results = [_kept(labels, inputs[0], t) for t in tensors(out)]
    others = [as_activation(tracker.value(t), tracker.atoms) for t in inputs[1:]]
    if any(r is None for r in results) or any(t.numel() > 1 and t.max() > FIXED for t in others):
        reason = why_not(name).because(operation=name)
        for part in (labels, *others):
            tracker.atoms.fix(part.unique().tolist(), reason)
        return [Value.uniform(t.shape, FIXED) for t in tensors(out)]
    return [r for r in results if r is not None]


def _kept(labels: torch.Tensor, given: torch.Tensor, out: torch.Tensor) -> Value | None:
    if out.dim() != given.dim():
        return None if labels.numel() > 1 else Value.uniform(out.shape, int(labels.flatten()[0]))
    for dim in range(out.dim()):
        if labels.shape[dim] > 1 and out.shape[dim] != given.shape[dim]:
            return None
    return Value(tuple(out.shape), compact(labels))
