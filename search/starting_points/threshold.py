"""One threshold for all groups: each is pruned as far as it alone loses no more.

As FastNAS does, after its description in NVIDIA's Model Optimizer documentation (nvidia.github.io/Model-Optimizer),
with the loss that lasts, where that is known, in place of the score before training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..sensitivity.table import Step, chosen_policy, told_cost
from .base import Known, StartingPoint

COSTS = (0.5, 0.75, 0.25)
"""The thresholds taken are those whose networks come nearest to these costs: 0 is the cheapest network, 1 the dense."""


def threshold_sweep(known: Known) -> Iterable[StartingPoint]:
    """Yield networks of three thresholds; none where losses are not known."""
    losses = sorted({step.loss for steps in known.table.steps.values() for step in steps})
    networks = [(loss, chosen) for loss in losses if (chosen := _below(known, loss))]
    if not networks:
        return
    floor = min(told_cost(chosen) for _, chosen in networks)
    for wanted in COSTS:
        target = floor + wanted * (1 - floor)
        loss, chosen = min(networks, key=lambda each: abs(told_cost(each[1]) - target))
        yield StartingPoint.of_method("threshold", loss, chosen_policy(known.space, chosen))


def _below(known: Known, threshold: float) -> Mapping[str, Step]:
    found = {}
    for name, steps in known.table.steps.items():
        allowed = [step for step in steps if step.loss <= threshold]
        if allowed:
            found[name] = min(allowed, key=lambda step: step.cost)
    return found
