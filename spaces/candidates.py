"""From couplings of a dependency graph to candidate groups, not verified yet."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from .dependency_graph import Coupling, Side
from .groups import FrozenGroup, Group, Slice
from .layers import NORMALISED_ACROSS_CHANNELS, UnsupportedLayerError, channel_dimensions


def candidate(coupling: Coupling, *, stages: Mapping[str, int], freeze: frozenset[str]) -> Group | FrozenGroup:
    """Return the group of a coupling, or the frozen group where a reason forbids it without looking at numbers."""
    layers = tuple(dict.fromkeys(side.layer for side in coupling.pairs))
    producers = {side.layer for side in coupling.pairs if side.produces}
    try:
        if coupling.is_output:
            raise UnsupportedLayerError("its channels are an output of the network")
        named = sorted(layer for layer in producers if layer in freeze)
        if named:
            raise UnsupportedLayerError(f"the task freezes {', '.join(named)}")
        channel_of, channels = _merge_linked(coupling)
        slices = [s for side, pairs in coupling.pairs.items() for s in _slices(side, pairs, channel_of, channels)]
        if channels < 2:
            raise UnsupportedLayerError("all its channels depend on one another, so none can go alone")
    except UnsupportedLayerError as reason:
        return FrozenGroup(coupling.root, layers, coupling.channels, str(reason))
    verification = "shape" if _normalised_across(coupling) else "exact"
    return Group(coupling.root, channels, tuple(slices), verification, stages.get(coupling.root, 0))


def _merge_linked(coupling: Coupling) -> tuple[list[int], int]:
    """Merge root channels that meet at one position of some tensor, as they can only go together.

    Returns:
        The merged channel of each root channel, numbered by first appearance, and their count.
    """
    parent = list(range(coupling.channels))

    def find(channel: int) -> int:
        while parent[channel] != channel:
            parent[channel] = parent[parent[channel]]
            channel = parent[channel]
        return channel

    for pairs in coupling.pairs.values():
        owner: dict[int, int] = {}
        for index, root in pairs:
            first = owner.setdefault(index, root)
            low, high = sorted((find(first), find(root)))
            parent[high] = low
    numbers: dict[int, int] = {}
    merged = [numbers.setdefault(find(c), len(numbers)) for c in range(coupling.channels)]
    return merged, len(numbers)


def _slices(side: Side, pairs: list[tuple[int, int]], channel_of: list[int], channels: int) -> list[Slice]:
    rows: list[set[int]] = [set() for _ in range(channels)]
    for index, root in pairs:
        rows[channel_of[root]].add(index)
    positions = tuple(tuple(sorted(row)) for row in rows)
    if isinstance(side.module, nn.Parameter):
        raise UnsupportedLayerError(f"its channels reach the parameter {side.layer}, which belongs to no known layer")
    return [
        Slice(f"{side.layer}.{name}".lstrip("."), dim, positions, side.produces)
        for name, dim in channel_dimensions(side.module, produces=side.produces)
    ]


def _normalised_across(coupling: Coupling) -> bool:
    return any(isinstance(side.module, NORMALISED_ACROSS_CHANNELS) for side in coupling.pairs)
