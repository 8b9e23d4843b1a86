"""Operations that move values about in space, and windows over channels that lie as if in space."""

from __future__ import annotations

from typing import Any

import torch

from ...freeze_reasons import FreezeCode
from ..atoms import ANY, FIXED
from ..state import Tracker
from ..values import Value, as_activation, by_index, compact
from .fallback import fallback
from .rule import Rule, tensors


def _by_place(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    """Keep the labels of what is sampled; what says where may not lose a coordinate."""
    labels = as_activation(tracker.value(args[0]), tracker.atoms)
    places = tracker.value(args[1]).labels
    if places is not None and int(places.max()) > FIXED:
        tracker.atoms.fix(places.unique().tolist(), FreezeCode.COORDINATES.because())
    return [_with_channels(tracker, labels, out)]


def _with_channels(tracker: Tracker, labels: torch.Tensor, out: torch.Tensor) -> Value:
    along = by_index(labels, 1, labels.shape[1], tracker.atoms)
    return Value(tuple(out.shape), along.view(1, -1, *[1] * (out.dim() - 2)))


def _unpool(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    """Keep the labels along channels: values go back to where they were in space."""
    from .pointwise import combine

    value = combine(tracker, [tracker.value(args[0]), tracker.value(args[1])], tuple(args[0].shape))
    labels = as_activation(value, tracker.atoms)
    channels = labels.dim() - (4 if "3d" in func.overloadpacket.__name__ else 3)
    if any(size > 1 for size in labels.shape[channels + 1 :]):
        return fallback(tracker, func, args, kwargs, out)
    return [Value(tuple(out.shape), labels)]


def _fold(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    """Unite the places of one channel's window; ``unfold`` made them of one channel."""
    dim = args[0].dim() - 2
    labels = by_index(as_activation(tracker.value(args[0]), tracker.atoms), dim, args[0].shape[dim], tracker.atoms)
    made = [tracker.atoms.unite_all(row) for row in labels.view(out.shape[dim], -1).tolist()]
    return [Value(tuple(out.shape), torch.tensor(made).view([-1 if d == dim else 1 for d in range(out.dim())]))]


def _pool(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    """Keep labels beside the pooled dimensions; over channels, padded so that as many leave, they are mixed.

    Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks", NeurIPS 2012, normalise so.
    """
    labels = as_activation(tracker.value(args[0]), tracker.atoms)
    across = [d for d in range(labels.dim()) if labels.shape[d] > 1 and out.shape[d] != args[0].shape[d]]
    if len(across) != 1 or len(tensors(out)) != 1:
        return fallback(tracker, func, args, kwargs, out)
    (dim,) = across
    along = labels.movedim(dim, 0)
    kept = along[(along != ANY).flatten(1).any(1)]
    if kept.shape[0] != out.shape[dim]:
        return fallback(tracker, func, args, kwargs, out)
    tracker.atoms.mix(labels.unique().tolist())
    return [Value(tuple(out.shape), compact(kept.movedim(0, dim)))]


def _as_complex(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    """Unite the two parts of each number."""
    labels = as_activation(tracker.value(args[0]), tracker.atoms)
    if labels.shape[-1] > 1:
        tracker.atoms.unite_pairs(labels[..., 0], labels[..., 1])
        labels = tracker.atoms.roots(labels)
    return [Value(tuple(out.shape), compact(labels[..., 0]))]


def _as_real(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    return [Value(tuple(out.shape), as_activation(tracker.value(args[0]), tracker.atoms)[..., None])]


RESAMPLINGS: dict[str, Rule] = {
    **dict.fromkeys(("grid_sampler_2d", "grid_sampler_3d", "cudnn_grid_sampler"), _by_place),
    **dict.fromkeys(("max_unpool2d", "max_unpool3d"), _unpool),
    "col2im": _fold,
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), _pool),
    "view_as_complex": _as_complex,
    "view_as_real": _as_real,
}
