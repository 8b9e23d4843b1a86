"""Six levels of pruning, each with its share of the budget: how most people make a front."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from torch import nn

from .base import Candidate
from .cutting import Cutter, Widths
from .setting import Setting

LEVELS = tuple(i / 8 for i in range(1, 7))
"""Ratios of channels removed."""


def distinct(widths: Iterable[tuple[str, dict[str, int]]]) -> list[tuple[str, dict[str, int]]]:
    """Return the labelled widths without those that came before: nobody trains the same network twice."""
    found: dict[tuple[tuple[str, int], ...], tuple[str, dict[str, int]]] = {}
    for label, each in widths:
        found.setdefault(tuple(sorted(each.items())), (label, each))
    return list(found.values())


def trained_from_dense(
    setting: Setting,
    cutter: Cutter,
    levels: list[tuple[str, dict[str, int]]],
    *,
    cut: Callable[[nn.Module, Widths], nn.Module] | None = None,
) -> Iterator[Candidate]:
    """Yield a network for each level, cut from the dense one and trained for an equal share of what is left."""
    for done, (label, widths) in enumerate(levels):
        small = (cut or cutter.cut)(setting.dense, widths)
        network, samples = setting.train_for(small, setting.budget.left / (len(levels) - done))
        yield Candidate(network, label, samples)
