"""A budget of CPU seconds: all that a method does counts, what the benchmark does for itself does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

GRACE = 0.02
"""Share of the budget by which a candidate may come late and still count: no method can end a training to the step."""


class BudgetSpentError(Exception):
    """The budget is used up."""


class Budget:
    """CPU seconds that a method may use, counted from when this is made.

    Args:
        seconds: how many there are.
        clock: what they are counted by; by default all threads of this process.
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.process_time) -> None:
        self.seconds = seconds
        self._clock = clock
        self._begin = clock()
        self._paused = 0.0

    @property
    def used(self) -> float:
        """Seconds used so far."""
        return self._clock() - self._begin - self._paused

    @property
    def left(self) -> float:
        """Seconds left; below zero once the budget is overdrawn."""
        return self.seconds - self.used

    @property
    def over(self) -> bool:
        """Whether a candidate that is ready now comes too late to count."""
        return self.used > self.seconds * (1 + GRACE)

    def check(self) -> None:
        """Do nothing while there is something left.

        Raises:
            BudgetSpentError: there is not.
        """
        if self.left <= 0:
            raise BudgetSpentError(f"{self.used:.1f} of {self.seconds:.1f} CPU seconds are used")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave what is done inside the block uncounted."""
        begin = self._clock()
        try:
            yield
        finally:
            self._paused += self._clock() - begin
