"""Moves that need not see every element: labels that are alike along a dimension are moved as one.

A weight of a linear layer has millions of elements and two rows of labels; transposed in full it took half the time of
following a transformer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from .rule import tensors

Move = Callable[[torch.Tensor], list[torch.Tensor]]
"""From labels, of full size or 1 along each dimension, to those of each output, likewise."""

_ALONG_NONE = frozenset("t transpose permute alias detach clone lift_fresh contiguous _to_copy unsqueeze".split())
"""Operations that treat a dimension of any size alike."""
_ALONG_ONE = frozenset("slice select narrow split chunk unbind split_with_sizes unsafe_split".split())
"""Operations along the dimension given as ``dim``."""
_VIEWS = frozenset("view reshape _unsafe_view _reshape_alias unsafe_view".split())


def compact_move(func: Any, args: Any, kwargs: Any, before: Sequence[int], out: Any) -> Move | None:
    """Return an operation's move of compact labels; ``None`` where it has to be applied to full ones.

    Args:
        func: the operation.
        args: its arguments, of which the first is moved.
        kwargs: its arguments by name, without types and layouts.
        before: the shape that is moved.
        out: what the operation gave.
    """
    name = func.overloadpacket.__name__
    outputs = tensors(out)
    in_place = name.endswith("_")
    if in_place or not outputs or 0 in before or any(0 in tensor.shape for tensor in outputs):
        return None
    if name in _VIEWS:
        return _view(before, outputs[0].shape)
    if name == "expand":
        dims = outputs[0].dim()
        return lambda part: [part.reshape([1] * (dims - part.dim()) + list(part.shape))]
    acted = _acted(name, func, args, kwargs, len(before))
    if acted is None:
        return None

    def apply(part: torch.Tensor) -> list[torch.Tensor]:
        sizes = [before[d] if d in acted else size for d, size in enumerate(part.shape)]
        return tensors(func(part.expand(sizes), *args[1:], **kwargs))

    return apply


def _acted(name: str, func: Any, args: Any, kwargs: Any, rank: int) -> set[int] | None:
    """Return the dimensions along which elements change place; ``None`` where they are not known."""
    if name in _ALONG_NONE:
        return set()
    if name not in _ALONG_ONE or not rank:
        return None
    names = [argument.name for argument in func._schema.arguments]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    dim = given.get("dim", 0)
    return {dim % rank} if isinstance(dim, int) else None


def _view(before: Sequence[int], after: Sequence[int]) -> Move | None:
    """Return the move of a view: runs of dimensions that hold the same elements are laid out anew each on its own."""
    runs = list(_runs(before, after)) if math.prod(before) == math.prod(after) else []
    if not runs or runs[-1][1] != len(before) or runs[-1][3] != len(after):
        return None

    def apply(part: torch.Tensor) -> list[torch.Tensor]:
        sizes, shape = [1] * len(before), [1] * len(after)
        for start, end, first, last in runs:
            if any(size > 1 for size in part.shape[start:end]):
                sizes[start:end], shape[first:last] = before[start:end], after[first:last]
        return [part.expand(sizes).reshape(shape)]

    return apply


def _runs(before: Sequence[int], after: Sequence[int]) -> Iterator[tuple[int, int, int, int]]:
    """Yield the runs of dimensions, start and end in both shapes, that have as many elements in both."""
    start = first = end = last = 0
    while end < len(before) and last < len(after):
        left, right = before[end], after[last]
        end, last = end + 1, last + 1
        while left != right:
            if left < right and end < len(before):
                left, end = left * before[end], end + 1
            elif right < left and last < len(after):
                right, last = right * after[last], last + 1
            else:
                return
        if end == len(before) or last == len(after):  # what is left over has size 1
            end, last = len(before), len(after)
        yield start, end, first, last
        start, first = end, last
