"""Operations that move elements about: applied to the labels just as to the elements."""

from __future__ import annotations

from typing import Any

import torch

from ..atoms import ANY
from ..state import Tracker
from ..values import Value, as_activation, compact, meet, moved
from .compact_moves import compact_move
from .rule import tensors

MOVEMENTS = frozenset(
    """alias as_strided cat chunk clone detach diagonal expand flip gather im2col index index_select lift_fresh
    narrow permute pixel_shuffle pixel_unshuffle repeat repeat_interleave reshape roll rot90 select slice split
    split_with_sizes squeeze stack t take transpose unbind unfold unsafe_chunk unsafe_split unsafe_view unsqueeze view
    channel_shuffle native_channel_shuffle _unsafe_view _reshape_alias _to_copy contiguous constant_pad_nd tril triu
    unsafe_split_with_sizes view_as expand_as split_copy copy""".split()
)
JOINS = frozenset({"cat", "stack"})


def move(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    """Return the values after the move."""
    name = func.overloadpacket.__name__.rstrip("_")
    if name in JOINS:
        return [_joined(tracker, func, args, kwargs, out)]
    if name == "copy":
        return [_copied(tracker, args)]
    if name == "constant_pad_nd":
        return [_padded(tracker, args, out)]
    if name == "index":
        args = (args[0], [_not_empty(index) for index in args[1]])
    value = tracker.value(args[0])
    options = _without_types(kwargs)
    short = compact_move(func, args, options, value.shape, out)
    results = []
    for position, tensor in enumerate(tensors(out)):

        def apply(part: torch.Tensor, position: int = position) -> torch.Tensor:
            return (tensors(func(part, *args[1:], **options)) if short is None else short(part))[position]

        results.append(moved(value, tensor.shape, apply, whole=short is None))
    _note_boxes(tracker, name, value, results, args)
    return results


def _not_empty(index: torch.Tensor | None) -> torch.Tensor | None:
    """Return an index that picks something: labels are told by what is picked, if only in other runs."""
    if index is None or bool(index.any() if index.dtype in (torch.bool, torch.uint8) else index.numel()):
        return index
    if index.dtype in (torch.bool, torch.uint8):
        return torch.ones_like(index)
    return index.new_zeros([max(size, 1) for size in index.shape])


def _without_types(kwargs: Any) -> dict[str, Any]:
    return {k: v for k, v in kwargs.items() if k not in {"dtype", "layout", "device", "pin_memory", "memory_format"}}


def _note_boxes(tracker: Tracker, name: str, value: Value, results: list[Value], args: Any) -> None:
    before = _full_dims(value)
    if name.endswith("view") or name in {"reshape", "_reshape_alias"}:
        labels = results[0].labels
        if labels is not None and _full_dims(results[0]) > before:
            tracker.boxes.append(labels)
    if name.endswith("channel_shuffle") and results[0].labels is not None and value.labels is not None:
        tracker.boxes.append(value.labels.expand(value.shape)[0].flatten(1)[:, 0].reshape(int(args[1]), -1))
    if name.endswith("split_with_sizes"):
        _note_sizes(tracker, results, [int(size) for size in args[1]])
    if "split" in name and len(results) > 1 and all(r.labels is not None for r in results):
        _note_split(tracker, results)


def _note_sizes(tracker: Tracker, results: list[Value], sizes: list[int]) -> None:
    parts = [r.labels for r in results if r.labels is not None]
    if [p.numel() for p in parts] == sizes:  # one label for each channel, the same everywhere else
        tracker.splits.append((tuple(sizes), tuple(p.flatten() for p in parts)))


def _note_split(tracker: Tracker, results: list[Value]) -> None:
    parts = [r.labels for r in results if r.labels is not None]
    if len({p.shape for p in parts}) == 1 and _full_dims(results[0]) > 0:
        tracker.boxes.append(torch.stack(parts))


def _full_dims(value: Value) -> int:
    return 0 if value.labels is None else sum(size > 1 for size in value.labels.shape)


def _joined(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> Value:
    parts = list(args[0])
    values = [tracker.value(t) for t in parts]
    keep = [i for i, t in enumerate(parts) if t.numel() > 0]
    if all(values[i].labels is None for i in keep):
        labels = [as_activation(values[i], tracker.atoms) for i in keep]
    else:
        labels = _labels_beside(tracker, [values[i] for i in keep], func, args)
    full = [part.expand(values[i].shape).contiguous() for part, i in zip(labels, keep, strict=True)]
    return Value(tuple(out.shape), compact(func(full, *args[1:], **kwargs)))


def _labels_beside(tracker: Tracker, values: list[Value], func: Any, args: Any) -> list[torch.Tensor]:
    """Label parameters that are joined to activations (class tokens) like the activations beside them."""
    name = func.overloadpacket.__name__
    dim = args[1] if len(args) > 1 else 0
    labels, rank = next((v.labels, len(v.shape)) for v in values if v.labels is not None)
    beside = compact(labels).narrow(dim % rank, 0, 1) if name == "cat" else labels
    found = []
    for value in values:
        if value.labels is not None:
            found.append(value.labels)
            continue
        if beside.shape != torch.Size([1] * beside.dim()) and beside.dim() == len(value.shape):
            for source in value.sources:
                meet(source, beside, tracker.atoms)
            found.append(beside)
        else:
            found.append(as_activation(value, tracker.atoms))
    return found


def _copied(tracker: Tracker, args: Any) -> Value:
    from .pointwise import combine

    target = tuple(args[0].shape)
    if args[1].dim() > len(target):
        return tracker.value(args[0])
    before = tracker.value(args[0])
    if tracker.value(args[1]).crossed:
        return combine(tracker, [tracker.value(args[1])], target)
    value = combine(tracker, [tracker.value(args[1]), *([before] if before.labels is not None else [])], target)
    _fill(tracker, args[0], value)
    return value


def _fill(tracker: Tracker, part: torch.Tensor, value: Value) -> None:
    """Label the place in a larger tensor that something is copied into: sequences are filled up so, and frames shifted.

    The larger one's other elements are labelled like those that stand beside them along a dimension without channels.
    """
    whole = part._base
    if whole is None or value.labels is None or whole._is_view():
        return
    before = tracker.value(whole)
    if before.sources:
        return
    labels = torch.full((), ANY) if before.labels is None else before.labels
    full = torch.empty_strided(whole.shape, whole.stride(), dtype=torch.long).copy_(labels.expand(whole.shape))
    full.as_strided(part.shape, part.stride(), part.storage_offset() - whole.storage_offset()).copy_(
        value.labels.expand(part.shape)
    )
    tracker.set(whole, Value(tuple(whole.shape), _spread(full)))


def _spread(full: torch.Tensor) -> torch.Tensor:
    """Return ``full`` compact, with every dimension along which only unlabelled elements differ reduced to size 1."""
    for dim in range(full.dim()):
        high = full.amax(dim, keepdim=True)
        if bool(((full == high) | (full == ANY)).all()):
            full = high
    return full


def _padded(tracker: Tracker, args: Any, out: torch.Tensor) -> Value:
    """Extend labels over a padded dimension where they do not change along it; elsewhere the padding is nobody's."""
    value, pad = tracker.value(args[0]), list(args[1])
    if value.labels is None and not value.sources:
        return Value.constant(out.shape)
    labels = as_activation(value, tracker.atoms)
    added = torch.zeros_like(labels)
    for i in range(0, len(pad), 2):
        dim = labels.dim() - 1 - i // 2
        if labels.shape[dim] > 1 and (pad[i] or pad[i + 1]):
            amounts = [0] * (2 * (labels.dim() - dim))
            amounts[-2:] = pad[i : i + 2]
            labels = torch.nn.functional.pad(labels, amounts, value=ANY)
            added = torch.nn.functional.pad(added, amounts, value=1)
    if added.any():
        tracker.padding[id(out)] = added.bool()
    return Value(tuple(out.shape), labels)
