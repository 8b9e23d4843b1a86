"""A resolution of the search space: few numbers that mean a choice for every group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from optuna.distributions import BaseDistribution

from ...spaces.policy import Policy


class Resolution(Protocol):
    """A coarse view of a search space."""

    @property
    def name(self) -> str:
        """What trials that were proposed at it are called."""
        ...

    @property
    def distributions(self) -> Mapping[str, BaseDistribution]:
        """What there is to choose."""
        ...

    def policy(self, values: Mapping[str, float]) -> Policy:
        """Return the policy that values of these distributions mean, at the space's first precision."""
        ...
