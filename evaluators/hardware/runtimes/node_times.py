"""Profiles of several runs as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

from .base import ProfiledNode


def median_by_node(runs: Iterable[Sequence[tuple[str, str, float]]]) -> tuple[ProfiledNode, ...]:
    """Return each node's median time in ms over runs of (name, operator, ms), in the order of the first run."""
    times: dict[str, list[float]] = defaultdict(list)
    operators: dict[str, str] = {}
    for run in runs:
        for name, operator, milliseconds in run:
            times[name].append(milliseconds)
            operators[name] = operator
    return tuple(ProfiledNode(name, operators[name], median(found)) for name, found in times.items())
