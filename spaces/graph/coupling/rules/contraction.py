"""Matrix products: columns of the left meet rows of the right; weights make new channels."""

from __future__ import annotations

from typing import Any

import torch

from ...freeze_reasons import FreezeCode
from ..atoms import ANY
from ..state import Tracker
from ..values import Source, Value, as_activation, by_index, compact, follow, meet
from .crossing import along, layered, settle
from .rule import Rule


def _mm(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    return [product(tracker, tracker.value(args[0]), tracker.value(args[1]), out.shape)]


def _addmm(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    from .pointwise import combine

    result = product(tracker, tracker.value(args[1]), tracker.value(args[2]), out.shape)
    return [combine(tracker, [result, tracker.value(args[0])], tuple(out.shape))]


def _mv(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    """Multiply with a vector: a matrix of one column."""
    vector = tracker.value(args[1])
    sources = tuple(Source(s.tensor, s.shape, tuple(i[..., None] for i in s.indices)) for s in vector.sources)
    column = Value((*vector.shape, 1), None if vector.labels is None else vector.labels[:, None], sources)
    result = product(tracker, tracker.value(args[0]), column, (*out.shape, 1))
    return [Value(tuple(out.shape), None if result.labels is None else result.labels[..., 0])]


def product(tracker: Tracker, left: Value, right: Value, shape: Any) -> Value:
    """Return the value of ``left @ right``, each a matrix or a batch of matrices."""
    for value in (left, right):
        if value.labels is None and value.sources:
            follow(value.sources[0], value.sources[1:], tracker.atoms)
    weight = _weight(right)
    if weight is not None:
        return layered(tracker, shape, _through(tracker, _layers(tracker, left), weight, rows=-2, columns=-1))
    weight = _weight(left)
    if weight is not None:
        turned = [labels.mT for labels in _layers(tracker, right)]
        return layered(tracker, shape, [o.mT for o in _through(tracker, turned, weight, rows=-1, columns=-2)])
    return layered(tracker, shape, _between(tracker, _layers(tracker, left), _layers(tracker, right)))


def _layers(tracker: Tracker, value: Value) -> list[torch.Tensor]:
    return list(value.layers) or [as_activation(value, tracker.atoms)]


def _weight(value: Value) -> Source | None:
    return value.sources[0] if value.labels is None and value.sources else None


def _through(
    tracker: Tracker, layers: list[torch.Tensor], weight: Source, *, rows: int, columns: int
) -> list[torch.Tensor]:
    """Unite what comes in with the weight's dimension read, and return the atoms of the one that makes channels.

    Channels that lie beside the dimension read, as where tokens are mixed, stay beside what is made.
    """
    read, made = _dimension(weight, rows), _dimension(weight, columns)
    ones = [1] * (layers[0].dim() - 1)
    for labels in layers:
        if read is None:
            tracker.atoms.fix(labels.unique().tolist(), FreezeCode.UNKNOWN_LAYOUT.because())
        elif labels.shape[-1] > 1 or labels.numel() == 1:
            index = weight.indices[read].flatten()
            incoming = by_index(labels, labels.dim() - 1, index.numel(), tracker.atoms)
            tracker.atoms.unite_pairs(incoming, tracker.atoms.of(weight.tensor, read, weight.shape[read])[index])
    own = _of_batch(weight, read)
    for labels in layers:
        if own is not None and labels.numel() > 1:
            meet(own, labels, tracker.atoms)
    beside = [labels for labels in layers if labels.shape[-1] == 1 and labels.numel() > 1 and read is not None]
    if made is None:
        return beside or [torch.full([*ones, 1], ANY, dtype=torch.long)]
    index = weight.indices[made].flatten()
    atoms = tracker.produce(weight.tensor, made, weight.shape[made])[index]
    return [*(tracker.atoms.roots(labels) for labels in beside), tracker.atoms.roots(atoms).view(*ones, index.numel())]


def _of_batch(weight: Source, read: int | None) -> Source | None:
    """Return where a weight for each of a batch, such as one for each channel, meets what comes in; else ``None``."""
    dims = [d for d, index in enumerate(weight.indices) if index.numel() > 1 and index.shape[-2:].numel() == 1]
    if not dims or read is None:
        return None
    nowhere = torch.zeros([1] * weight.indices[0].dim(), dtype=torch.long)
    return Source(weight.tensor, weight.shape, tuple(i if d in dims else nowhere for d, i in enumerate(weight.indices)))


def _dimension(weight: Source, axis: int) -> int | None:
    """Return the weight's dimension that alone runs along ``axis``, all of it or a part that is sliced off."""
    for dim, index in enumerate(weight.indices):
        if index.numel() > 1 and index.dim() >= -axis and index.shape[axis] == index.numel():
            return dim
    return None


def _between(tracker: Tracker, left: list[torch.Tensor], right: list[torch.Tensor]) -> list[torch.Tensor]:
    """Multiply two activations, such as queries and keys: what meets in one product goes together.

    Where each kind of channels lies along one dimension, those of the rows and columns stay apart, as in the states of
    linear attention: Katharopoulos et al., "Transformers are RNNs", ICML 2020, arXiv:2006.16236.
    """
    atoms = tracker.atoms
    left, right = [atoms.roots(part) for part in left], [atoms.roots(part) for part in right]
    rank = left[0].dim()
    batch = set(range(rank - 2))
    clean = all(len({min(d, rank - 3) if d in batch else d for d in along(part)}) < 2 for part in (*left, *right))
    if not clean:
        for layers in (left, right):
            settle(tracker, layers[1:])
        return [_heads(tracker, left[0], right[0])]
    inner = [part.mT for part in left if part.shape[-1] > 1], [part for part in right if part.shape[-2] > 1]
    for one, other in zip(*inner, strict=False):
        atoms.unite_pairs(one, other)
    heads = [part for part in (*left, *right) if along(part) & batch or part.numel() == 1]
    made = [_united(tracker, heads)] if heads else []
    rows, columns = [p for p in left if p.shape[-2] > 1], [p for p in right if p.shape[-1] > 1]
    return [atoms.roots(part) for part in (*made, *rows, *columns)]


def _united(tracker: Tracker, heads: list[torch.Tensor]) -> torch.Tensor:
    """Return the labels of a batch of products, those of both factors united; a single label is nobody's beside it."""
    varied = [part for part in heads if part.numel() > 1]
    for part in varied[1:]:
        tracker.atoms.unite_pairs(varied[0], part)
    shape = torch.broadcast_shapes(*(part.shape for part in heads))
    return varied[0].expand(shape) if varied else torch.full(shape, ANY, dtype=torch.long)


def _heads(tracker: Tracker, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Unite all that one product of a batch mixes, where products differ; that is a head."""
    atoms, batch = tracker.atoms, torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
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
        tracker.atoms.fix(labels.unique().tolist(), FreezeCode.SPARSE.because())
        return [Value.uniform(out.shape)]
    return [Value(tuple(out.shape), labels)]


CONTRACTIONS: dict[str, Rule] = {
    "mm": _mm,
    "bmm": _mm,
    "mv": _mv,
    "addmm": _addmm,
    "baddbmm": _baddbmm,
    "embedding": _embedding,
    "_embedding_bag": _embedding_bag,
    "_embedding_bag_forward_only": _embedding_bag,
    "_sparse_addmm": _sparse,
    "_sparse_mm": _sparse,
}
PRODUCTS: tuple[Rule, ...] = (_mm, _addmm, _baddbmm)
"""Those that keep several kinds of channels apart."""
__all__ = ["CONTRACTIONS", "PRODUCTS", "meet", "product"]
