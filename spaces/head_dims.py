"""Attention that divides the width of its stream by the number of heads: head dimensions go with the stream.

Such code (``reshape(B, N, heads, C // heads)``) takes neither fewer heads nor a narrower stream alone. It does take a
stream that is narrower by as many channels as there are heads, where each head is narrower by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .groups import Group, Slice


def across_heads(groups: Sequence[Group]) -> Iterator[tuple[Group, tuple[str, ...]]]:
    """Yield groups of head dimensions that ``groups``, none of which can be cut alone, may be united to.

    Each comes with the names of the groups that it is made of: a stream and the heads of every attention that reads it.
    """
    for stream in groups:
        layers = set(stream.layers)
        beside = [g for g in groups if g is not stream and layers & set(g.layers) and not stream.channels % g.channels]
        for heads in sorted({g.channels for g in beside if g.channels < stream.channels}):
            readers = [g for g in beside if g.channels == heads]
            yield _united(stream, readers, heads), (stream.name, *(g.name for g in readers))


def _united(stream: Group, readers: Sequence[Group], heads: int) -> Group:
    width = stream.channels // heads
    found: dict[tuple[str, int], Slice] = {}
    for piece in stream.slices:
        rows = [piece.positions[d * heads : (d + 1) * heads] for d in range(width)]
        found[piece.tensor, piece.dim] = _slice(piece, [sum(row, ()) for row in rows])
    for piece in (piece for group in readers for piece in group.slices):
        if all(len(row) % width == 0 for row in piece.positions):
            rows = [sum((row[d::width] for row in piece.positions), ()) for d in range(width)]
            found.setdefault((piece.tensor, piece.dim), _slice(piece, rows))
    exact = all(g.verification == "exact" for g in (stream, *readers))
    return Group(stream.name, width, tuple(found.values()), "exact" if exact else "shape", stream.stage)


def _slice(piece: Slice, rows: Sequence[tuple[int, ...]]) -> Slice:
    return Slice(piece.tensor, piece.dim, tuple(rows), piece.produces)
