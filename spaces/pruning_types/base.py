"""What can be removed from a group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from ...errors import InputError, describe
from ..graph.groups import Group
from ..policy import Choice

Amount = tuple[int, int]
"""How much is kept and of how much, in the pruning type's own unit."""


class PruningType(Protocol):
    """One way to make a group smaller."""

    @property
    def zeroes(self) -> bool:
        """Whether single weights are zeroed, so that shapes stay; else whole channels go."""
        ...

    @property
    def ranked(self) -> bool:
        """Whether a criterion has a say in what is kept."""
        ...

    def options(self, group: Group, *, channel_multiple: int) -> tuple[Amount, ...]:
        """Return what this type can keep, least first; empty where it has nothing to offer."""
        ...

    def check(self, group: Group, choice: Choice) -> None:
        """Check that ``choice`` is one for ``group``.

        Raises:
            InputError: it is not.
        """
        ...

    def removed(self, group: Group, choice: Choice, ranking: Sequence[int]) -> tuple[int, ...]:
        """Return the channels that ``choice`` removes, given all channels ranked best first."""
        ...

    def kept_weights(self, scores: torch.Tensor, choice: Choice) -> torch.Tensor:
        """Return which weights of one tensor stay: booleans in the shape of ``scores``.

        Args:
            scores: what each weight is worth, shape (rows, kernel positions, input channels).
            choice: how much is kept.
        """
        ...

    def words(self, choice: Choice) -> str:
        """Return what is kept, for people."""
        ...


def refuse(group: Group, choice: Choice, expected: str) -> InputError:
    """Return the error of a choice that does not fit its group."""
    return InputError(
        describe(
            f"{choice.type!r} of group {group.name!r}: kept {choice.kept} of {choice.of}",
            expected=expected,
            remedy="Make the policy from this network's graph.",
        )
    )


def check_channels(group: Group, choice: Choice) -> None:
    """Check that ``choice`` counts the group's channels.

    Raises:
        InputError: it counts another number.
    """
    if choice.of != group.channels:
        raise refuse(group, choice, f"so many of {group.channels} channels")
