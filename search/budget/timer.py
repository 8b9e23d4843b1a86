"""How long a search has run, by whatever its budget is counted in."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Timer:
    """Seconds of a clock since the search was asked for."""

    clock: Callable[[], float]
    begin: float

    @classmethod
    def start(cls, clock: Callable[[], float] = time.monotonic) -> Timer:
        """Return a timer that begins now."""
        return cls(clock, clock())

    def elapsed(self) -> float:
        """Return the seconds gone."""
        return self.clock() - self.begin


@dataclass(frozen=True)
class SearchClock:
    """Seconds of a search, those of earlier sittings of the same run included.

    Args:
        timer: of this sitting.
        before: seconds of earlier ones.
        budget: seconds in all; ``None`` is any number.
    """

    timer: Timer
    before: float = 0.0
    budget: float | None = None

    def elapsed(self) -> float:
        """Return the seconds searched so far."""
        return self.before + self.timer.elapsed()

    def left(self) -> float | None:
        """Return the seconds that are left; ``None`` where the search has no budget."""
        return None if self.budget is None else self.budget - self.elapsed()

    @property
    def is_over(self) -> bool:
        """Whether the budget is used up."""
        return (left := self.left()) is not None and left <= 0
