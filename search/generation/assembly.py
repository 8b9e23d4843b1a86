"""The steps of one search, put together."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import optuna

from ...evaluators.objectives import SCORE
from ...evaluators.task.measure import Measure
from ...spaces.policy import Policy
from ...spaces.search_space import SearchSpace
from ..archive import Archive
from ..budget.timer import SearchClock
from ..budget.training_budget import TrainingBudget
from ..coarse_proposals import CoarseProposals
from ..cost_filter import CostFilter
from ..early_stopping import EarlyStopping
from ..options import SearchOptions
from ..refinement_plan import RefinementPlan
from ..resolutions import resolutions
from ..run_folder.origin import OriginKind
from ..sensitivity.nested_path import NestedPath
from ..starting_points import Known, starting_points
from .coarse import CoarseSource
from .cost_filter import LazyCostFilter
from .duplicates import Duplicates
from .halving import Halving
from .new_networks import NewNetworks
from .points import PointSource
from .random_draws import RandomSource
from .refinement import Refinement
from .steps import GenerationSteps
from .trial_queue import TrialQueue


@dataclass(frozen=True)
class StepParts:
    """What the steps of a search are made from.

    Args:
        study: of the run.
        space: what may be tried.
        archive: knows what was evaluated.
        options: of the search.
        path: of shrinking networks.
        known: what starting points are told from.
        given: the user's own policies.
        training_budget: shares the time out.
        clock: of the search.
        dense: metrics of the network as it was brought.
        measure: what the score is.
        generator: draws policies.
        make_cost_filter: makes what predicts costs.
    """

    study: optuna.Study
    space: SearchSpace
    archive: Archive
    options: SearchOptions
    path: NestedPath
    known: Known
    given: tuple[Policy, ...]
    training_budget: TrainingBudget
    clock: SearchClock
    dense: Mapping[str, float | None]
    measure: Measure
    generator: random.Random
    make_cost_filter: Callable[[], CostFilter | None]


@dataclass(frozen=True)
class AssembledSteps:
    """The steps, and those of their parts that a search asks for itself."""

    steps: GenerationSteps
    duplicates: Duplicates
    cost_filter: LazyCostFilter


def assemble(parts: StepParts) -> AssembledSteps:
    """Return the steps of a search, in the order in which they are asked."""
    space, archive, options = parts.space, parts.archive, parts.options
    queue = TrialQueue(parts.study, space, archive)
    first, published = _point_sources(parts, queue)
    duplicates = Duplicates(archive)
    cost_filter = LazyCostFilter(parts.make_cost_filter, archive, has_path=bool(parts.path.policies))
    draws = RandomSource(space, archive, parts.generator)
    sources = (*first, published, CoarseSource(_coarse(parts)))
    new = NewNetworks(space, archive, queue, sources, draws, duplicates, cost_filter)
    refinement_plan = RefinementPlan(archive, parts.training_budget, options, parts.dense, parts.measure)
    steps = GenerationSteps(
        queue=queue,
        first=first,
        new=new,
        halving=Halving(archive.ladder, space, queue, worthy=lambda: worthy(archive, parts.dense, parts.measure)),
        refinement=Refinement(refinement_plan, space, queue, parts.clock.elapsed),
        patience=EarlyStopping(options.patience),
        training_budget=parts.training_budget,
        archive=archive,
        trials=options.trials,
        elapsed=parts.clock.elapsed,
        time_left=parts.clock.left,
    )
    return AssembledSteps(steps, duplicates, cost_filter)


def worthy(archive: Archive, dense: Mapping[str, float | None], measure: Measure) -> frozenset[int]:
    """Return the trials on the front that add to its hypervolume; a small network may be there for being small."""
    best, members = dense.get(SCORE), archive.front.members
    if best is None:
        return frozenset(member.trial for member in members)
    least = measure.key(measure.reference(best))
    return frozenset(m.trial for m in members if measure.key(m.metrics.get(SCORE)) < least)


def _point_sources(parts: StepParts, queue: TrialQueue) -> tuple[tuple[PointSource, PointSource], PointSource]:
    """Return the sources of the user's policies, of the dense network with the path, and of published methods."""
    queued = queue.queued_values()
    points = [
        point
        for point in starting_points(parts.known, parts.given, parts.path.policies)
        if parts.archive.outcome(point.policy) is None and parts.space.values(point.policy) not in queued
    ]
    kinds = ((OriginKind.GIVEN,), (OriginKind.DENSE, OriginKind.PATH), (OriginKind.METHOD,))
    user, path, published = (
        PointSource(
            (point for point in points if point.origin.kind in kind),
            parts.space,
            path=parts.path.policies,
            hopeless=parts.training_budget.path.is_hopeless,
        )
        for kind in kinds
    )
    return (user, path), published


def _coarse(parts: StepParts) -> CoarseProposals:
    space, options = parts.space, parts.options
    coarse = resolutions(space, parts.path.table)
    return CoarseProposals(parts.study, space, coarse, options.sampler, options.seed, options.trials)
