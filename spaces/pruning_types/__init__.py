"""Pruning types, by name."""

from __future__ import annotations

from ...registry import Registry
from .base import PruningType
from .channel import ChannelPruning
from .none import NoPruning

PRUNING_TYPES: Registry[PruningType] = Registry("pruning type")
PRUNING_TYPES.add("none", NoPruning())
PRUNING_TYPES.add("channel", ChannelPruning())

__all__ = ["PRUNING_TYPES", "PruningType"]
