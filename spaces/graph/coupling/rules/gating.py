"""Gated linear units: one half of the channels scales the other.

Dauphin et al., "Language Modeling with Gated Convolutional Networks", ICML 2017, arXiv:1612.08083.
"""

from __future__ import annotations

from typing import Any

from ..state import Tracker
from ..values import Value, moved
from .pointwise import combine
from .rule import Rule


def _glu(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    value = tracker.value(args[0])
    dim = args[1] if len(args) > 1 else kwargs.get("dim", -1)
    half = value.shape[dim] // 2
    halves = [moved(value, out.shape, lambda part, s=start: part.narrow(dim, s, half)) for start in (0, half)]
    return [combine(tracker, halves, tuple(out.shape))]


GATES: dict[str, Rule] = {"glu": _glu}
