"""What a method is, and what it gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from espalier.registry import Registry

from .setting import Setting


@dataclass(frozen=True)
class Candidate:
    """A pruned and trained network that a method offers. The network must not change afterwards."""

    network: nn.Module
    label: str
    """What made it, for people."""
    samples: int
    """Training samples it saw after pruning, those of the networks that it was cut from included."""
    accuracy: float | None = None
    """On validation data, where the method looked."""
    seconds: float | None = None
    """CPU seconds after which it was there; where ``None``, when it is yielded."""


class Method(Protocol):
    """A way to make a front of pruned networks."""

    description: str
    """One line: what it does with the budget."""

    def search(self, setting: Setting) -> Iterator[Candidate]:
        """Yield candidates, each as soon as it is there, until the setting's budget is used up.

        Raises:
            BudgetSpentError: it is; what was yielded until then counts.
        """
        ...


METHODS: Registry[Method] = Registry("method")

OURS = "espalier"
"""The search as a user gets it; ``espalier-…`` are ablations of it."""


def is_ours(method: str) -> bool:
    """Return whether a method is Espalier, whole or with a part left out."""
    return method.partition("-")[0] == OURS
