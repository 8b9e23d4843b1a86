"""Optimisers by name; one file each."""

from __future__ import annotations

from ....registry import Registry
from .adamw import ADAMW
from .base import NamedOptimizer
from .default import needs_adamw
from .sgd import SGD

__all__ = ["OPTIMIZERS", "NamedOptimizer", "needs_adamw"]

OPTIMIZERS: Registry[NamedOptimizer] = Registry("optimizer", group="espalier.optimizers")
OPTIMIZERS.add("sgd", SGD)
OPTIMIZERS.add("adamw", ADAMW)
