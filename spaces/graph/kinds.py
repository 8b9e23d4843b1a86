"""Groups of one kind, as repeated blocks have them: what one of them cannot do, its like are not asked to."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from .groups import Group, Slice


def kinds_of(model: nn.Module, groups: Sequence[Group]) -> list[list[Group]]:
    """Put groups of one kind together: the same layers of the same classes of modules, in whichever block."""
    kinds: dict[frozenset[tuple[str, str, int]], list[Group]] = {}
    for group in groups:
        kinds.setdefault(frozenset(_place(model, piece) for piece in group.slices), []).append(group)
    return list(kinds.values())


def _place(model: nn.Module, piece: Slice) -> tuple[str, str, int]:
    parent, _, name = piece.layer.rpartition(".")
    kind = type(model.get_submodule(parent)).__qualname__
    return kind, f"{name}.{piece.tensor.rpartition('.')[2]}", piece.dim
