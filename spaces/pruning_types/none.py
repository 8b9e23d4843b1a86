"""Removing nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..graph.groups import Group
from ..policy import Choice
from .base import Amount, check_channels, refuse


class NoPruning:
    """Leaves a group as it is."""

    zeroes = False
    ranked = False

    def options(self, group: Group, *, channel_multiple: int) -> tuple[Amount, ...]:
        """Return the group's own channel count."""
        return ((group.channels, group.channels),)

    def check(self, group: Group, choice: Choice) -> None:
        """Check that the choice keeps all of the group's channels."""
        check_channels(group, choice)
        if choice.kept != choice.of:
            raise refuse(group, choice, "all channels kept")

    def removed(self, group: Group, choice: Choice, ranking: Sequence[int]) -> tuple[int, ...]:
        """Return no channel."""
        return ()

    def kept_weights(self, scores: torch.Tensor, choice: Choice) -> torch.Tensor:
        """Return that every weight stays."""
        return torch.ones_like(scores, dtype=torch.bool)

    def words(self, choice: Choice) -> str:
        """Return ``all 16 channels``."""
        return f"all {choice.of} channels"
