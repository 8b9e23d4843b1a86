"""Operations over pairs of vectors: bilinear layers and distances."""

from __future__ import annotations

from typing import Any

from ..state import Tracker
from ..values import Value, as_activation, by_index
from .fallback import fallback
from .rule import Rule

_BILINEAR = ([1, 3], [0], [1, 2], [2, 3])
"""How PyTorch's bilinear layer calls the product of three tensors."""


def _trilinear(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    """Unite each input with the dimension of the weight that it meets; the first makes channels."""
    left, weight, right = args[:3]
    known = tracker.value(weight)
    whole = [s for s in known.sources if s.shape == tuple(weight.shape)]
    if tuple(map(list, args[3:7])) != _BILINEAR or known.labels is not None or not whole:
        return fallback(tracker, func, args, kwargs, out)
    name = whole[0].tensor
    for part, dim in ((left, 1), (right, 2)):
        labels = as_activation(tracker.value(part), tracker.atoms)
        incoming = by_index(labels, labels.dim() - 1, part.shape[-1], tracker.atoms)
        tracker.atoms.unite_pairs(incoming, tracker.atoms.of(name, dim, part.shape[-1]))
    made = tracker.produce(name, 0, weight.shape[0])
    return [Value(tuple(out.shape), tracker.atoms.roots(made).view(1, -1))]


def _distances(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    """Unite the coordinates of both sets of points, which a distance mixes."""
    parts = [as_activation(tracker.value(part), tracker.atoms) for part in args[:2]]
    if any(size > 1 for part in parts for size in part.shape[:-1]):
        return fallback(tracker, func, args, kwargs, out)
    left, right = (part.reshape(-1) for part in parts)
    tracker.atoms.unite_pairs(left, right)
    for part in (left, right):
        tracker.atoms.mix(part.unique().tolist())
    return [Value.uniform(out.shape)]


PAIRINGS: dict[str, Rule] = {"_trilinear": _trilinear, "_cdist_forward": _distances, "_euclidean_dist": _distances}
