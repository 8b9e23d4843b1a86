"""Removing whole channels: filters of a convolution, neurons of a linear layer, with everything coupled to them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..graph.groups import Group
from ..policy import Choice
from .base import Amount, check_channels


class ChannelPruning:
    """Keeps a prefix of the ranking, so that the policies of one criterion nest."""

    zeroes = False
    ranked = True

    def options(self, group: Group, *, channel_multiple: int) -> tuple[Amount, ...]:
        """Return the multiples of ``channel_multiple`` below the group's channels."""
        return tuple((width, group.channels) for width in group.widths(channel_multiple)[:-1])

    def check(self, group: Group, choice: Choice) -> None:
        """Check that the choice counts the group's channels."""
        check_channels(group, choice)

    def removed(self, group: Group, choice: Choice, ranking: Sequence[int]) -> tuple[int, ...]:
        """Return the channels after the first ``choice.kept`` of the ranking."""
        return tuple(ranking[choice.kept :])

    def kept_weights(self, scores: torch.Tensor, choice: Choice) -> torch.Tensor:
        """Return that every weight of the channels left stays."""
        return torch.ones_like(scores, dtype=torch.bool)

    def words(self, choice: Choice) -> str:
        """Return ``8 of 16 channels``."""
        return f"{choice.kept} of {choice.of} channels"
