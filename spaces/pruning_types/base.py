"""What can be removed from a group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..groups import Group
from ..policy import Choice


class PruningType(Protocol):
    """One way to make a group smaller."""

    def options(self, group: Group, *, channel_multiple: int) -> tuple[int, ...]:
        """Return the channel counts that this type can keep, ascending; empty where it has nothing to offer."""
        ...

    def removed(self, group: Group, choice: Choice, ranking: Sequence[int]) -> tuple[int, ...]:
        """Return the channels that ``choice`` removes, given all channels ranked best first."""
        ...
