"""Removing whole channels: filters of a convolution, neurons of a linear layer, with everything coupled to them."""

from __future__ import annotations

from collections.abc import Sequence

from ..groups import Group
from ..policy import Choice


class ChannelPruning:
    """Keeps a prefix of the ranking, so that the policies of one criterion nest."""

    def options(self, group: Group, *, channel_multiple: int) -> tuple[int, ...]:
        """Return the multiples of ``channel_multiple`` below the group's channels."""
        return group.widths(channel_multiple)[:-1]

    def removed(self, group: Group, choice: Choice, ranking: Sequence[int]) -> tuple[int, ...]:
        """Return the channels after the first ``choice.kept`` of the ranking."""
        return tuple(ranking[choice.kept :])
