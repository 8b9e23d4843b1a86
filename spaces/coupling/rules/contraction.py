"""Matrix products: columns of the left meet rows of the right; weights make new channels."""

from __future__ import annotations

from typing import Any

import torch

from ..atoms import ANY
from ..state import Tracker
from ..values import Source, Value, as_activation, by_index, compact, follow, meet
from .rule import Rule


def _mm(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    return [product(tracker, tracker.value(args[0]), tracker.value(args[1]), out.shape)]


def _addmm(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    from .pointwise import combine

    result = product(tracker, tracker.value(args[1]), tracker.value(args[2]), out.shape)
    return [combine(tracker, [result, tracker.value(args[0])], tuple(out.shape))]


def product(tracker: Tracker, left: Value, right: Value, shape: Any) -> Value:
    """Return the value of ``left @ right``, each a matrix or a batch of matrices."""
    for value in (left, right):
        if value.labels is None and value.sources:
            follow(value.sources[0], value.sources[1:], tracker.atoms)
    weight = _weight(right)
    if weight is not None:
        return Value(tuple(shape), _through(tracker, as_activation(left, tracker.atoms), weight, rows=-2, columns=-1))
    weight = _weight(left)
    if weight is not None:
        flipped = _through(tracker, as_activation(right, tracker.atoms).mT, weight, rows=-1, columns=-2)
        return Value(tuple(shape), flipped.mT)
    return Value(
        tuple(shape), _between(tracker, as_activation(left, tracker.atoms), as_activation(right, tracker.atoms))
    )


def _weight(value: Value) -> Source | None:
    return value.sources[0] if value.labels is None and value.sources else None


def _through(tracker: Tracker, labels: torch.Tensor, weight: Source, *, rows: int, columns: int) -> torch.Tensor:
    """Unite what comes in with the weight's dimension read, and return the atoms of the one that makes channels."""
    read = _dimension(weight, rows)
    made = _dimension(weight, columns)
    if read is None:
        tracker.atoms.fix(labels.unique().tolist(), "it meets a weight in an unknown layout")
    else:
        index = weight.indices[read].flatten()
        incoming = by_index(labels, labels.dim() - 1, index.numel(), tracker.atoms)
        tracker.atoms.unite_pairs(incoming, tracker.atoms.of(weight.tensor, read, weight.shape[read])[index])
    ones = [1] * (labels.dim() - 1)
    if made is None:
        return torch.full([*ones, 1], ANY, dtype=torch.long)
    index = weight.indices[made].flatten()
    atoms = tracker.produce(weight.tensor, made, weight.shape[made])[index]
    return tracker.atoms.roots(atoms).view(*ones, index.numel())


def _dimension(weight: Source, axis: int) -> int | None:
    """Return the weight's dimension that alone runs along ``axis``, all of it or a part that is sliced off."""
    for dim, index in enumerate(weight.indices):
        if index.numel() > 1 and index.shape[axis] == index.numel():
            return dim
    return None


def _between(tracker: Tracker, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Multiply two activations, such as queries and keys: what meets in one product goes together."""
    atoms = tracker.atoms
    left, right = atoms.roots(left), atoms.roots(right)
    inner_left, inner_right = left.shape[-1] > 1, right.shape[-2] > 1
    outer_left, outer_right = left.shape[-2] > 1, right.shape[-1] > 1
    batch = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    if inner_left or inner_right:
        lowered = left.narrow(-2, 0, 1).mT if not outer_left else None
        if lowered is not None and not outer_right:
            atoms.unite_pairs(lowered, right.narrow(-1, 0, 1))
    heads = _heads(tracker, left, right, batch)
    if outer_left and outer_right:
        return heads
    if outer_left and not inner_left:
        return atoms.roots(left)
    if outer_right and not inner_right:
        return atoms.roots(right)
    return heads


def _heads(tracker: Tracker, left: torch.Tensor, right: torch.Tensor, batch: torch.Size) -> torch.Tensor:
    """Unite all that one product of a batch mixes, where products differ; that is a head."""
    atoms = tracker.atoms
    rank = left.dim()
    varied = any(t.shape[d] > 1 for t in (left, right) for d in range(rank - 2))
    if not varied:
        return torch.full([1] * rank, ANY, dtype=torch.long)
    full = [t.expand(*batch, *t.shape[-2:]).reshape(batch.numel(), -1) for t in (left, right)]
    rows = torch.cat(full, dim=1)
    made = [atoms.unite_all(row.unique().tolist()) for row in rows]
    return compact(torch.tensor(made, dtype=torch.long).view(*batch, 1, 1))


def _baddbmm(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    return _addmm(tracker, func, args, kwargs, out)


def _embedding(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    table = tracker.value(args[0])
    if table.labels is not None or not table.sources:
        return [Value.uniform(out.shape)]
    source = table.sources[0]
    atoms = tracker.produce(source.tensor, 1, source.shape[1])
    return [Value(tuple(out.shape), tracker.atoms.roots(atoms).view(*[1] * (out.dim() - 1), -1))]


def _embedding_bag(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    """Label the sums, means or largest values of rows; what else is returned has no channels."""
    return [*_embedding(tracker, func, args, kwargs, out[0]), *(Value.uniform(t.shape) for t in out[1:])]


def _sparse(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    """Keep the channels of what a sparse matrix, such as that of a graph's edges, is multiplied with."""
    labels = as_activation(tracker.value(args[-1]), tracker.atoms)
    if labels.shape[0] > 1:
        tracker.atoms.fix(labels.unique().tolist(), "a sparse matrix mixes its channels")
        return [Value.uniform(out.shape)]
    return [Value(tuple(out.shape), labels)]


CONTRACTIONS: dict[str, Rule] = {
    "mm": _mm,
    "bmm": _mm,
    "mv": _mm,
    "addmm": _addmm,
    "baddbmm": _baddbmm,
    "embedding": _embedding,
    "_embedding_bag": _embedding_bag,
    "_embedding_bag_forward_only": _embedding_bag,
    "_sparse_addmm": _sparse,
    "_sparse_mm": _sparse,
}
__all__ = ["CONTRACTIONS", "meet", "product"]
