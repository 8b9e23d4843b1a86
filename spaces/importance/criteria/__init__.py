"""Importance criteria, by name."""

from __future__ import annotations

from ....registry import Registry
from .activation import MeanActivation
from .base import Activations, Criterion, Need, Statistics
from .bn_scale import BatchNormScale
from .fpgm import GeometricMedian
from .hessian import DiagonalHessian
from .lamp import LayerAdaptiveMagnitude
from .magnitude import Magnitude
from .random import Random
from .taylor import Taylor

CRITERIA: Registry[Criterion] = Registry("criterion", group="espalier.criteria")
CRITERIA.add("l1", Magnitude(order=1))
CRITERIA.add("l2", Magnitude(order=2))
CRITERIA.add("bn_scale", BatchNormScale())
CRITERIA.add("fpgm", GeometricMedian())
CRITERIA.add("lamp", LayerAdaptiveMagnitude())
CRITERIA.add("taylor", Taylor())
CRITERIA.add("hessian", DiagonalHessian())
CRITERIA.add("activation", MeanActivation())
CRITERIA.add("random", Random())

__all__ = ["CRITERIA", "Activations", "Criterion", "Need", "Statistics"]
