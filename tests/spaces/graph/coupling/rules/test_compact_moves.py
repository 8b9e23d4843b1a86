"""Labels that are moved compact come out as those that are moved in full."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import prod
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.spaces.graph.coupling.rules.compact_moves import compact_move
from espalier.spaces.graph.coupling.values import compact

aten = torch.ops.aten
SHAPE = (4, 1, 6, 5)
MOVES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "transpose": (aten.transpose.int, (0, 2)),
    "permute": (aten.permute.default, ([2, 0, 3, 1],)),
    "unsqueeze": (aten.unsqueeze.default, (-1,)),
    "clone": (aten.clone.default, ()),
    "slice": (aten.slice.Tensor, (2, 1, 6, 2)),
    "slice of the first dimension": (aten.slice.Tensor, ()),
    "select": (aten.select.int, (-1, 3)),
    "unbind": (aten.unbind.int, (2,)),
    "split": (aten.split.Tensor, (2, 2)),
    "split into sizes": (aten.split_with_sizes.default, ([1, 4], 3)),
    "expand": (aten.expand.default, ([3, 4, 7, 6, -1],)),
    "view": (aten.view.default, ([2, 2, 30],)),
    "view that parts and joins": (aten.view.default, ([4, 2, 3, 1, 5, 1],)),
    "view across": (aten.view.default, ([8, 15],)),
}


def moved_both_ways(func: Any, rest: tuple[Any, ...], part: torch.Tensor, shape: tuple[int, ...]) -> None:
    full = part.expand(shape).contiguous()
    out = func(full, *rest)
    short = compact_move(func, (full, *rest), {}, shape, out)
    assert short is not None
    wanted = out if isinstance(out, list | tuple) else [out]
    found = short(part)
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert all(size in (1, whole) for size, whole in zip(one.shape, other.shape, strict=True))
        assert torch.equal(compact(one), compact(other))


@pytest.mark.parametrize("varying", [(), (0,), (2,), (3,), (0, 2), (2, 3), (0, 2, 3)])
@pytest.mark.parametrize("name", MOVES)
def test_compact_labels_move_like_full_ones(name: str, varying: tuple[int, ...]):
    sizes = [size if dim in varying else 1 for dim, size in enumerate(SHAPE)]
    moved_both_ways(*MOVES[name], torch.arange(prod(sizes)).reshape(sizes), SHAPE)


@st.composite
def views(draw: Callable[..., Any]) -> tuple[list[int], list[int], list[bool]]:
    factors = draw(st.lists(st.sampled_from([1, 2, 3, 5]), min_size=1, max_size=6))

    def grouped() -> list[int]:
        ends = draw(st.lists(st.integers(0, len(factors)), max_size=3))
        edges = [0, *sorted(ends), len(factors)]
        return [prod(factors[a:b]) for a, b in pairwise(edges)]

    before = grouped()
    return before, grouped(), draw(st.lists(st.booleans(), min_size=len(before), max_size=len(before)))


@settings(max_examples=200, deadline=None)
@given(views())
def test_any_view_moves_compact_labels_like_full_ones(view: tuple[list[int], list[int], list[bool]]):
    before, after, varies = view
    sizes = [size if varying else 1 for size, varying in zip(before, varies, strict=True)]
    moved_both_ways(aten.view.default, (after,), torch.arange(prod(sizes)).reshape(sizes), tuple(before))


def test_what_exchanges_elements_in_place_or_has_none_is_left_to_the_full_move():
    x = torch.zeros(2, 3)
    assert compact_move(aten.transpose_.default, (x.clone(), 0, 1), {}, (2, 3), x) is None
    assert compact_move(aten.tril.default, (x,), {}, (2, 3), x) is None
    assert compact_move(aten.slice.Tensor, (x, 0, 0, 0), {}, (2, 3), x[:0]) is None
