"""By how much a configuration misses the run's constraints and its device's limits, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..evaluators.objectives import Constraint
from ..evaluators.task.measure import Measure
from . import formatting as fmt

if TYPE_CHECKING:
    from ..search.run_folder import Run

_MEMORIES: Mapping[str, str] = {"size_bytes": "flash", "dense_size_bytes": "flash", "peak_memory_bytes": "RAM"}


def violations(metrics: Mapping[str, float | None], run: Run) -> tuple[str, ...]:
    """Return one text for each constraint that ``metrics`` miss: ``needs 12 KiB more RAM than the device has``."""
    own = set(run.info.options.parsed_constraints)
    return tuple(
        _violation(constraint, constraint.excess(metrics), run.measure, limit=constraint not in own)
        for constraint in run.constraints
        if constraint.violation(metrics) > 0
    )


def _violation(constraint: Constraint, excess: float, measure: Measure, *, limit: bool) -> str:
    name = constraint.objective.name
    if math.isinf(excess):
        return f"{fmt.inline(name, measure)} is not known, and {fmt.constraint(constraint, measure)} is asked for"
    if limit and name in _MEMORIES:
        return f"needs {fmt.metric(name, excess)} more {_MEMORIES[name]} than the device has"
    is_score = constraint.objective.is_score
    amount = fmt.metric(name, excess)
    if is_score:
        amount = fmt.score_difference(excess, measure, dense=constraint.bound).removeprefix("+")
    side = "above" if constraint.operator == "<=" else "below"
    return f"{fmt.inline(name, measure)} is {amount} {side} {fmt.metric(name, constraint.bound, measure)}"
