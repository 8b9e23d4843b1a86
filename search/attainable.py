"""Whether a search can succeed at all, found out before any time is spent on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..errors import ConstraintError, InputError, describe
from ..evaluators.objectives import Constraint, Objective
from ..spaces.policy import Policy
from ..spaces.search_space import SearchSpace
from .problem import SearchEvaluator

Metrics = Mapping[str, float | None]


def check_objectives(objectives: tuple[Objective, ...], dense: Metrics, device: str) -> None:
    """Check that every objective is known of the dense network.

    Raises:
        InputError: the device tells nothing of one.
    """
    for objective in objectives:
        if dense.get(objective.name) is None:
            known = ", ".join(name for name, value in dense.items() if value is not None)
            raise InputError(
                describe(
                    f"objective {objective.name} is unknown on device {device}",
                    expected=f"one of {known}",
                    remedy="Leave it out, or add what it needs to the device's file.",
                )
            )


def check_constraints(
    constraints: tuple[Constraint, ...], space: SearchSpace, evaluator: SearchEvaluator, dense: Metrics
) -> None:
    """Check that the dense network or the most pruned one, at some precision, meets each constraint on a cost.

    The score is left to the search: fine-tuning may better it.

    Raises:
        ConstraintError: neither meets one; the message says what is attainable.
    """
    on_costs = [c for c in constraints if not c.objective.is_score]
    if not on_costs:
        return
    leasts = [replace(least, precision=p) for p in space.precisions for least in most_pruned(space)]
    extremes = [dense, *(evaluator.cost(least).metrics for least in leasts)]
    for constraint in on_costs:
        if min(constraint.violation(metrics) for metrics in extremes) > 0:
            raise _unattainable(constraint, extremes)


def most_pruned(space: SearchSpace) -> tuple[Policy, ...]:
    """Return, for each pruning type, the policy that keeps the least of every group that the type has an offer for."""
    kinds = dict.fromkeys(kind for group in space.graph for kind in space.offered(group))
    return tuple(space.uniform(kind, 0) for kind in kinds)


def _unattainable(constraint: Constraint, extremes: Sequence[Metrics]) -> ConstraintError:
    name, unit = constraint.objective.name, constraint.objective.unit
    known = [value for metrics in extremes if (value := metrics.get(name)) is not None]
    if not known:
        return ConstraintError(
            describe(
                f"constraint {constraint}",
                expected=f"a metric that the device tells, not {name}",
                remedy="Leave it out.",
            )
        )
    best = min(known) if constraint.operator == "<=" else max(known)
    return ConstraintError(
        describe(
            f"constraint {constraint} cannot be met",
            expected=f"a bound that can: from {min(known):g} (most pruned) to {max(known):g} (dense) {unit}".rstrip(),
            remedy=f"Loosen it to {best:g} or beyond, or choose another device or network.",
        )
    )
