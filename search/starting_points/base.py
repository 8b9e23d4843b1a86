"""What every source of starting points is given, and what it yields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ...spaces.policy import Policy
from ...spaces.search_space import SearchSpace
from ..run_folder.origin import Origin, OriginKind
from ..sensitivity.table import SensitivityTable


@dataclass(frozen=True)
class StartingPoint:
    """A policy to try, and where it comes from."""

    origin: Origin
    policy: Policy

    @classmethod
    def of_method(cls, name: str, level: str | float, policy: Policy) -> StartingPoint:
        """Return a point of a published method at one of its levels."""
        detail = level if isinstance(level, str) else f"{level:.3g}"
        return cls(Origin(OriginKind.METHOD, name, detail), policy)


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
