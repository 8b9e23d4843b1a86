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
