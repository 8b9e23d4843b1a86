"""Pruning types, by name."""

from __future__ import annotations

from ...registry import Registry
from .base import Amount, PruningType
from .block import BlockPruning
from .channel import ChannelPruning
from .nm import PatternPruning
from .none import NoPruning
from .weight import WeightPruning

PRUNING_TYPES: Registry[PruningType] = Registry("pruning type", group="espalier.pruning_types")
PRUNING_TYPES.add("none", NoPruning())
PRUNING_TYPES.add("channel", ChannelPruning())
PRUNING_TYPES.add("block", BlockPruning())
PRUNING_TYPES.add("nm", PatternPruning())
PRUNING_TYPES.add("weight", WeightPruning())

__all__ = ["PRUNING_TYPES", "Amount", "PruningType"]
