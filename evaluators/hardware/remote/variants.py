"""Pruned variants of a network that a device is calibrated on, drawn from what a search could try."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ....spaces.groups import Graph, Group
from ....spaces.policy import Policy

STEPS = (1, 8, 16)
"""Widths are multiples of each in turn: arbitrary ones show what falls out of a runtime's blocked layout."""
_AROUND = 0.35
"""How far a group's share of channels may lie from its network's level."""


@dataclass(frozen=True)
class Variant:
    """One variant to be timed."""

    policy: Policy
    origin: str
    """``dense``, or the step of its widths: ``step 8``."""


def draw_variants(graph: Graph, *, count: int, seed: int) -> Iterator[Variant]:
    """Yield the dense network and ``count - 1`` different variants; fewer where the network has no more.

    Each has a level between nothing and everything, and every group a width near it, so that large and small networks
    are as common as middling ones.
    """
    yield Variant(Policy.dense(graph), "dense")
    generator = torch.Generator().manual_seed(seed)
    seen = {Policy.dense(graph)}
    for attempt in range(20 * count):
        if len(seen) >= count:
            return
        step = STEPS[attempt % len(STEPS)]
        level = _uniform(generator, 0.0, 1.0)
        policy = Policy.from_kept(graph, {g.name: _width(g, step, level, generator) for g in graph.groups})
        if policy not in seen:
            seen.add(policy)
            yield Variant(policy, f"step {step}")


def _width(group: Group, step: int, level: float, generator: torch.Generator) -> int:
    share = min(max(level + _uniform(generator, -_AROUND, _AROUND), 0.0), 1.0)
    return min(group.widths(step), key=lambda width: abs(width - share * group.channels))


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))
