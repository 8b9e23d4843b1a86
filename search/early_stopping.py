"""Ends the trying of new candidates once the front has stopped to grow."""

from __future__ import annotations

from dataclasses import dataclass, field

LEAST_GROWTH = 0.001
"""A hypervolume that is larger by less than this share of itself has not grown."""


@dataclass
class EarlyStopping:
    """Counts the candidates in a row that have not enlarged the front's hypervolume.

    Args:
        candidates: how many of them end the search for more; ``None`` waits for ever.
    """

    candidates: int | None
    _largest: float = field(default=0.0, init=False)
    _in_vain: int = field(default=0, init=False)

    def take_in(self, hypervolume: float, *, candidates: int = 1) -> None:
        """Take in the front's hypervolume after so many more candidates; none where one was trained on."""
        grown = hypervolume > self._largest * (1 + LEAST_GROWTH)
        self._in_vain = 0 if grown else self._in_vain + candidates
        self._largest = max(self._largest, hypervolume)

    @property
    def is_over(self) -> bool:
        """Whether the front has stopped to grow."""
        return self.candidates is not None and self._in_vain >= self.candidates
