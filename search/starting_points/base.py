"""What every source of starting points is given, and what it yields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ...spaces.policy import Policy
from ...spaces.search_space import SearchSpace
from ..sensitivity_table import SensitivityTable


@dataclass(frozen=True)
class StartingPoint:
    """A policy to try, and where it comes from."""

    origin: str
    policy: Policy


@dataclass(frozen=True)
class Known:
    """What starting points are made from."""

    space: SearchSpace
    table: SensitivityTable = field(default_factory=lambda: SensitivityTable({}))
    """What each group saves and loses alone; empty where nobody has probed that."""
    importance: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """By group, how much each channel is worth by the space's first criterion, over the group's mean, best first."""


Ladder = Callable[[Known], Iterable[StartingPoint]]
"""A one-line method that people use today, at several levels."""
