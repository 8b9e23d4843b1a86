"""Which channels are removed to judge groups by."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .groups import Group
from .slicing import Removed

CUTS = ("all but one", "random part", "first quarter")
"""What is removed in turn: nearly everything, which fails soonest; of each group another part, as groups that need the
same width are sound together only; a run of first channels, which shows every mistake in offsets."""


def removed_by(cut: str, groups: Sequence[Group], generator: torch.Generator) -> Removed:
    """Return which channels of each group one of :data:`CUTS` removes."""
    shift = int(torch.randint(1 << 16, (1,), generator=generator))
    alone = len(groups) == 1
    return [(group, _draw(group, cut, shift + i, generator, alone=alone)) for i, group in enumerate(groups)]


def _draw(group: Group, cut: str, number: int, generator: torch.Generator, *, alone: bool) -> list[int]:
    if cut == "first quarter":
        return list(range(max(1, group.channels // 4)))
    count = group.channels - 1
    if cut == "random part":
        count = number % group.channels or int(alone)
    return torch.randperm(group.channels, generator=generator)[:count].tolist()
