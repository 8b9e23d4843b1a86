"""Dropping a residual branch, so that its shortcut alone is left: depth pruning."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..graph.groups import Group
from ..policy import Choice
from .base import Amount, refuse


class BlockPruning:
    """Drops the residual branch that the group stands in, with all other groups in it."""

    zeroes = False
    ranked = False

    def options(self, group: Group, *, channel_multiple: int) -> tuple[Amount, ...]:
        """Return the one option, nothing of one branch, where the group stands for a branch."""
        return ((0, 1),) if group.branch is not None else ()

    def check(self, group: Group, choice: Choice) -> None:
        """Check that the group stands for a branch and that the choice drops it."""
        if group.branch is None or (choice.kept, choice.of) != (0, 1):
            raise refuse(group, choice, "0 of 1, for a group that stands for a residual branch")

    def removed(self, group: Group, choice: Choice, ranking: Sequence[int]) -> tuple[int, ...]:
        """Return no channel: the branch goes as a whole, after the channels."""
        return ()

    def kept_weights(self, scores: torch.Tensor, choice: Choice) -> torch.Tensor:
        """Return true everywhere: nothing is zeroed."""
        return torch.ones_like(scores, dtype=torch.bool)

    def words(self, choice: Choice) -> str:
        """Return ``dropped``."""
        return "branch dropped"
