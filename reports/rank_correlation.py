"""Spearman's rank correlation: whether two measures order the same things alike."""

from __future__ import annotations

import math
from collections.abc import Sequence


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation of two equally long sequences, ties sharing their mean rank.

    ``None`` where it is undefined: fewer than three pairs, or one side does not vary.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} values against {len(b)}; a correlation needs pairs.")
    if len(a) < 3:
        return None
    x, y = _ranks(a), _ranks(b)
    mean = (len(a) + 1) / 2
    covariance = sum((p - mean) * (q - mean) for p, q in zip(x, y, strict=True))
    spread = math.sqrt(sum((p - mean) ** 2 for p in x) * sum((q - mean) ** 2 for q in y))
    return covariance / spread if spread > 0 else None


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(range(len(values)), key=lambda i: values[i])
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for i in order[start : end + 1]:
            ranks[i] = (start + end) / 2 + 1
        start = end + 1
    return ranks
