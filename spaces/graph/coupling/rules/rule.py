"""What a rule is."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch.utils._pytree import tree_flatten

from ..state import Tracker
from ..values import Value


class Rule(Protocol):
    """Says what is known about an operation's outputs, given what is known about its inputs."""

    def __call__(self, tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
        """Return one value for each tensor in ``out``, in order."""
        ...


def tensors(tree: Any) -> list[torch.Tensor]:
    """Return all tensors in a structure, in order."""
    return [t for t in tree_flatten(tree)[0] if isinstance(t, torch.Tensor)]


def opaque(out: Any) -> list[Value]:
    """Return values that nothing is known about."""
    return [Value.uniform(t.shape) for t in tensors(out)]
