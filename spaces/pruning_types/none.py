"""Removing nothing."""

from __future__ import annotations

from collections.abc import Sequence

from ..groups import Group
from ..policy import Choice


class NoPruning:
    """Leaves a group as it is."""

    def options(self, group: Group, *, channel_multiple: int) -> tuple[int, ...]:
        """Return the group's own channel count."""
        return (group.channels,)

    def removed(self, group: Group, choice: Choice, ranking: Sequence[int]) -> tuple[int, ...]:
        """Return no channel."""
        return ()
