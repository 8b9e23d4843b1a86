"""A schedule: what share of its peak the learning rate has once it has risen."""

from __future__ import annotations

from collections.abc import Callable

Schedule = Callable[[float], float]
"""The share of the way from the peak to the end, in [0, 1), to the share of the peak."""
WARM_UP = 0.1
"""Share of the steps over which the learning rate rises to its peak, whatever the schedule."""


def factor(schedule: Schedule, step: int, steps: int) -> float:
    """Return the share of the peak learning rate at ``step`` of ``steps``."""
    rise = max(1, round(WARM_UP * steps))
    if step < rise:
        return (step + 1) / rise
    return schedule((step - rise) / max(1, steps - rise))
