"""Attention that divides the width of its stream by the number of heads: head dimensions go with the stream.

Such code (``reshape(B, N, heads, C // heads)``) takes neither fewer heads nor a narrower stream alone. It does take a
stream that is narrower by as many channels as there are heads, where each head is narrower by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import nn

from ..graph.groups import Group, Slice
from ..graph.slicing import Removed


def across_heads(groups: Sequence[Group]) -> Iterator[tuple[Group, tuple[str, ...]]]:
    """Yield groups of head dimensions that ``groups``, none of which can be cut alone, may be united to.

    Each comes with the names of the groups that it is made of: a stream and the heads of every attention that reads it.
    Heads that differ in what is done to them (CoaT convolves some with larger windows) stand in several groups; a
    single head is a group of one channel.
    """
    for stream in groups:
        layers = set(stream.layers)
        beside = [g for g in groups if g is not stream and layers & set(g.layers)]
        sets = [s for s in _attentions(beside) if not stream.channels % _count(s)]
        # Of a single head each dimension is a channel of a group as wide as the stream.
        for heads in sorted({_count(s) % stream.channels or 1 for s in sets if stream.channels > 1}):
            readers = [g for s in sets if (_count(s) % stream.channels or 1) == heads for g in s]
            yield _united(stream, readers, heads), (stream.name, *(g.name for g in readers))


def _attentions(groups: Sequence[Group]) -> list[list[Group]]:
    """Put groups together whose channels the same tensors make: the heads of one attention, or of some that share."""
    sets: list[list[Group]] = []
    for group in groups:
        made = _made(group)
        met = [s for s in sets if any(made & _made(g) for g in s)]
        sets = [s for s in sets if s not in met]
        sets.append([*(g for s in met for g in s), group])
    return sets


def _made(group: Group) -> set[tuple[str, int]]:
    return {(piece.tensor, piece.dim) for piece in group.slices if piece.produces}


def _count(groups: Sequence[Group]) -> int:
    return sum(g.channels for g in groups)


def _united(stream: Group, readers: Sequence[Group], heads: int) -> Group:
    width = stream.channels // heads
    rows: dict[tuple[str, int], list[tuple[int, ...]]] = {}
    produces: dict[tuple[str, int], bool] = {}
    for piece in stream.slices:
        key = piece.tensor, piece.dim
        produces[key] = piece.produces
        rows[key] = [sum(piece.positions[d * heads : (d + 1) * heads], ()) for d in range(width)]
    streams = set(rows)
    for piece in (piece for group in readers for piece in group.slices):
        key, found = (piece.tensor, piece.dim), piece.positions
        by_dim = heads == 1 and len(found) == width
        if key not in streams and (by_dim or all(len(row) % width == 0 for row in found)):
            dims = found if by_dim else [sum((row[d::width] for row in found), ()) for d in range(width)]
            produces[key] = piece.produces
            rows[key] = [old + new for old, new in zip(rows.get(key, [()] * width), dims, strict=True)]
    slices = tuple(Slice(*key, tuple(found), produces[key]) for key, found in rows.items())
    exact = all(g.verification == "exact" for g in (stream, *readers))
    kept = tuple(dict.fromkeys(a for g in (stream, *readers) for a in g.attributes if not (a.per or a.value % width)))
    return Group(stream.name, width, slices, "exact" if exact else "shape", stream.stage, attributes=kept)


def in_pairs(group: Group) -> Group | None:
    """Return ``group`` with its channels two by two: some code fails where one is left, or an odd number.

    A standardised weight that reads a single channel is one; ``None`` where the number of channels is odd.
    """
    if group.channels % 2 or group.channels < 4:
        return None
    slices = []
    for piece in group.slices:
        rows = piece.positions
        slices.append(replace(piece, positions=tuple(a + b for a, b in zip(rows[::2], rows[1::2], strict=True))))
    return replace(group, channels=group.channels // 2, slices=tuple(slices))


def by_position(group: Group) -> Group | None:
    """Return ``group`` cut the other way: the same position of each channel, where a channel is several positions.

    Heads whose number is fixed take fewer dimensions each, and pairs that are laid apart go as pairs. What a channel
    has once stays whole. ``None`` where there is but one position.
    """
    lengths = sorted({len(piece.positions[0]) for piece in group.slices} - {1})
    if not lengths or any(a.per or a.value % lengths[0] for a in group.attributes):
        return None
    slices = []
    for piece in group.slices:
        if all(len(row) % lengths[0] == 0 for row in piece.positions):
            turned = (sum((row[d :: lengths[0]] for row in piece.positions), ()) for d in range(lengths[0]))
            slices.append(replace(piece, positions=tuple(turned)))
    return replace(group, channels=lengths[0], slices=tuple(slices))


def rescale_(network: nn.Module, removed: Removed) -> None:
    """Make a masked twin, in place, attend as if its heads were as narrow as those of the pruned network.

    Attention that divides by the square root of a width that it reads from a shape divides by less once that is
    pruned. Queries and keys are scaled to the same effect; what follows the values takes that back.
    """
    parameters = dict(network.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for group, gone in removed:
            scale = (group.channels / (group.channels - len(gone))) ** 0.25
            for piece in (p for p in group.slices if p.tensor in parameters):
                index = torch.tensor([i for row in piece.positions for i in row])
                tensor = parameters[piece.tensor]
                kept = tensor.index_select(piece.dim, index) * (scale if piece.produces else 1 / scale)
                tensor.index_copy_(piece.dim, index, kept)
