"""How the learning rate goes, by name; one file each."""

from __future__ import annotations

from ....registry import Registry
from .base import WARM_UP, Schedule, factor
from .constant import constant
from .cosine import cosine
from .linear import linear

__all__ = ["SCHEDULES", "WARM_UP", "Schedule", "factor"]

SCHEDULES: Registry[Schedule] = Registry("schedule", group="espalier.schedules")
SCHEDULES.add("cosine", cosine)
SCHEDULES.add("linear", linear)
SCHEDULES.add("constant", constant)
