"""Dominance, fronts and hypervolume against hand-computed values and the properties that define them."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.evaluators.pareto import Point, dominates, hypervolume, non_dominated

REFERENCE = (10.0, 10.0, 10.0)
_coordinate = st.integers(min_value=0, max_value=11).map(float)
_points = st.lists(st.tuples(_coordinate, _coordinate, _coordinate), max_size=9)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((1.0, 1.0), (2.0, 2.0), True),
        ((1.0, 2.0), (1.0, 3.0), True),
        ((1.0, 2.0), (1.0, 2.0), False),
        ((1.0, 3.0), (2.0, 2.0), False),
        ((2.0, 2.0), (1.0, 1.0), False),
        ((math.nan, 1.0), (2.0, 2.0), False),
    ],
)
def test_dominates(a: Point, b: Point, expected: bool) -> None:
    assert dominates(a, b) is expected


def test_points_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        dominates((1.0, 2.0), (1.0, 2.0, 3.0))


def test_non_dominated_keeps_the_order_and_the_first_of_equal_points() -> None:
    points = [(5.0, 5.0), (1.0, 4.0), (3.0, 2.0), (1.0, 4.0), (4.0, 1.0), (3.0, 3.0)]
    assert non_dominated(points) == [1, 2, 4]


def test_no_points_have_no_front_and_no_volume() -> None:
    assert non_dominated([]) == []
    assert hypervolume([], (1.0, 1.0)) == 0.0


def test_one_objective() -> None:
    assert hypervolume([(3.0,), (2.0,), (7.0,)], (5.0,)) == 3.0


def test_two_objectives_by_hand() -> None:
    # Columns of the staircase below (5, 5): x 1..2 is 1 high, x 2..4 is 3 high, x 4..5 is 4 high.
    assert hypervolume([(1.0, 4.0), (2.0, 2.0), (4.0, 1.0)], (5.0, 5.0)) == 1 * 1 + 2 * 3 + 1 * 4


def test_three_objectives_by_hand() -> None:
    # Two boxes of 2 x 1 x 1 and 1 x 2 x 1 below (2, 2, 1) share 1 x 1 x 1.
    assert hypervolume([(0.0, 1.0, 0.0), (1.0, 0.0, 0.0)], (2.0, 2.0, 1.0)) == 3.0
    # Boxes 1x2x3, 2x3x1 and 3x1x2 in the corner (3, 3, 3): 6 each, each pair shares 1x2x1, 1x1x2, 2x1x1, all 1x1x1.
    points = [(2.0, 1.0, 0.0), (1.0, 0.0, 2.0), (0.0, 2.0, 1.0)]
    assert hypervolume(points, (3.0, 3.0, 3.0)) == 3 * 6 - 3 * 2 + 1


def test_points_on_or_beyond_the_reference_add_nothing() -> None:
    assert hypervolume([(5.0, 0.0), (0.0, 5.0), (6.0, -9.0)], (5.0, 5.0)) == 0.0
    assert hypervolume([(math.nan, 1.0), (4.0, 4.0)], (5.0, 5.0)) == 1.0


@pytest.mark.parametrize("dimensions", [2, 3, 4])
def test_hypervolume_agrees_with_counting_unit_cells(dimensions: int) -> None:
    generator = random.Random(dimensions)
    for _ in range(5):
        points = [tuple(float(generator.randrange(5)) for _ in range(dimensions)) for _ in range(6)]
        cells = itertools.product(range(5), repeat=dimensions)
        counted = sum(any(all(x <= c for x, c in zip(p, cell, strict=True)) for p in points) for cell in cells)
        assert hypervolume(points, (5.0,) * dimensions) == counted


@given(points=_points)
def test_the_front_is_what_nothing_dominates(points: list[Point]) -> None:
    front = {points[i] for i in non_dominated(points)}
    assert front == {p for p in points if not any(dominates(q, p) for q in points)}
    assert len(front) == len(non_dominated(points))


@settings(max_examples=60)
@given(points=_points, data=st.data())
def test_order_and_duplicates_change_nothing(points: list[Point], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(points)) + points[:2]
    assert hypervolume(shuffled, REFERENCE) == hypervolume(points, REFERENCE)
    assert {shuffled[i] for i in non_dominated(shuffled)} == {points[i] for i in non_dominated(points)}


@settings(max_examples=60)
@given(points=_points, extra=st.tuples(_coordinate, _coordinate, _coordinate))
def test_a_point_more_never_takes_volume_and_a_dominated_one_adds_none(points: list[Point], extra: Point) -> None:
    before, after = hypervolume(points, REFERENCE), hypervolume([*points, extra], REFERENCE)
    assert after >= before
    if any(dominates(p, extra) or p == extra for p in points):
        assert after == before
    elif all(x < r for x, r in zip(extra, REFERENCE, strict=True)):
        assert after > before


@settings(max_examples=60)
@given(points=_points, axes=st.permutations(range(3)))
def test_the_order_of_the_objectives_does_not_matter(points: list[Point], axes: list[int]) -> None:
    turned = [tuple(p[a] for a in axes) for p in points]
    assert hypervolume(turned, REFERENCE) == pytest.approx(hypervolume(points, REFERENCE))
