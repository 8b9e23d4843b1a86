"""Importance criteria, by name."""

from __future__ import annotations

from ...registry import Registry
from .base import Criterion, Evidence
from .bn_scale import BatchNormScale
from .fpgm import GeometricMedian
from .magnitude import Magnitude
from .random import Random
from .taylor import Taylor

CRITERIA: Registry[Criterion] = Registry("criterion")
CRITERIA.add("l1", Magnitude(order=1))
CRITERIA.add("l2", Magnitude(order=2))
CRITERIA.add("bn_scale", BatchNormScale())
CRITERIA.add("fpgm", GeometricMedian())
CRITERIA.add("taylor", Taylor())
CRITERIA.add("random", Random())

__all__ = ["CRITERIA", "Criterion", "Evidence"]
