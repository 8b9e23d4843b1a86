"""One sparsity for a whole network, bent by how sensitive each group is."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean, pstdev

from optuna.distributions import BaseDistribution, IntDistribution

from ...spaces.graph.groups import Group
from ...spaces.policy import Choice, Policy
from ...spaces.search_space import SearchSpace
from ..sensitivity.table import LEAST_LOSS, SensitivityTable, Step

DROPPED = "dropped"


def bent(space: SearchSpace, table: SensitivityTable, level: float, *, temperature: float, dropped: int = 0) -> Policy:
    """Return the policy at a level of sparsity, bent by sensitivity.

    Groups whose widths save nothing on the device stay whole.

    Args:
        space: what may be pruned, and how.
        table: what each group saves and loses alone.
        level: sparsity, in [0, 1); at temperature 0 that of every group.
        temperature: how strongly sensitive groups are spared: a group's log share of channels kept is scaled by
            ``exp(-temperature * z)``, where z is its standardised log loss.
        dropped: so many residual branches go, those first that lose least for what they save.
    """
    return placed(space, table, dict.fromkeys(table.steps, level), temperature=temperature, dropped=dropped)


def placed(
    space: SearchSpace,
    table: SensitivityTable,
    levels: Mapping[str, float],
    *,
    temperature: float = 0.0,
    dropped: int = 0,
) -> Policy:
    """Return the policy with a level of sparsity for each group; the rest is as for :func:`bent`."""
    factors = _factors(table, temperature)
    choices: dict[str, Choice] = {}
    for group in space.graph:
        if group.name in factors and group.name in levels:
            sparsity = 1 - (1 - levels[group.name]) ** factors[group.name]
            choices[group.name] = _width(space, group, sparsity)
    for name in droppable(table)[:dropped]:
        choices[name] = next(step.choice for step in table.steps[name] if step.drops)
    return space.policy(space.values(Policy.of(space.graph, choices)))


def with_branches(found: Mapping[str, BaseDistribution], table: SensitivityTable) -> Mapping[str, BaseDistribution]:
    """Return what there is to choose and, where branches may be dropped, how many of them go."""
    branches = len(droppable(table))
    return {**found, DROPPED: IntDistribution(0, branches)} if branches else found


def count_dropped(values: Mapping[str, float]) -> int:
    """Return how many branches go."""
    return int(values.get(DROPPED, 0))


def droppable(table: SensitivityTable) -> Sequence[str]:
    """Return the groups whose residual branches may be dropped, those first that lose least for what they save."""
    drops = [(name, step) for name, steps in table.steps.items() for step in steps if step.drops]
    price = {name: max(step.loss, LEAST_LOSS) / max(1 - step.cost, 1e-9) for name, step in drops}
    return sorted(price, key=lambda name: (price[name], name))


def _factors(table: SensitivityTable, temperature: float) -> Mapping[str, float]:
    """Return, for each group with widths that save something, what its log share kept is scaled by; 1 on average."""
    widths = {n: [s for s in steps if not s.drops] for n, steps in table.steps.items()}
    logs = {name: _sensitivity(steps) for name, steps in widths.items() if steps}
    if not logs:
        return {}
    mean, spread = fmean(logs.values()), pstdev(logs.values()) or 1.0
    raw = {name: math.exp(-temperature * (value - mean) / spread) for name, value in logs.items()}
    whole = fmean(raw.values())
    return {name: value / whole for name, value in raw.items()}


def _sensitivity(steps: Collection[Step]) -> float:
    """Return the log of the loss for what is removed, at the width nearest to half."""
    middle = min(steps, key=lambda step: abs(step.choice.sparsity - 0.5))
    return math.log(max(middle.loss, LEAST_LOSS) / middle.choice.sparsity)


def _width(space: SearchSpace, group: Group, sparsity: float) -> Choice:
    kept = group.width_near(min(sparsity, 1 - 1e-9), space.channel_multiple)
    return Choice.channel(kept=kept, of=group.channels, criterion=space.criteria[0])
