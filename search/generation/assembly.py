"""The steps of one search, put together."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import optuna

from ...evaluators.measure import Measure
from ...evaluators.objectives import SCORE
from ...spaces.policy import Policy
from ...spaces.search_space import SearchSpace
from ..coarse_proposals import CoarseProposals
from ..effort import Effort
from ..last_step import LastStep
from ..ledger import Ledger
from ..options import SearchOptions
from ..patience import Patience
from ..resolutions import resolutions
from ..run_folder.origin import OriginKind
from ..screen import CostScreen
from ..shrinking_path import ShrinkingPath
from ..starting_points import Known, starting_points
from ..timer import SearchClock
from .coarse import CoarseSource
from .cost_filter import CostFilter
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
        ledger: knows what was evaluated.
        options: of the search.
        path: of shrinking networks.
        known: what starting points are told from.
        given: the user's own policies.
        effort: shares the time out.
        clock: of the search.
        dense: metrics of the network as it was brought.
        measure: what the score is.
        generator: draws policies.
        make_screen: makes what predicts costs.
    """

    study: optuna.Study
    space: SearchSpace
    ledger: Ledger
    options: SearchOptions
    path: ShrinkingPath
    known: Known
    given: tuple[Policy, ...]
    effort: Effort
    clock: SearchClock
    dense: Mapping[str, float | None]
    measure: Measure
    generator: random.Random
    make_screen: Callable[[], CostScreen | None]


@dataclass(frozen=True)
class AssembledSteps:
    """The steps, and those of their parts that a search asks for itself."""

    steps: GenerationSteps
    duplicates: Duplicates
    cost_filter: CostFilter


def assemble(parts: StepParts) -> AssembledSteps:
    """Return the steps of a search, in the order in which they are asked."""
    space, ledger, options = parts.space, parts.ledger, parts.options
    queue = TrialQueue(parts.study, space, ledger)
    first, published = _point_sources(parts, queue)
    duplicates = Duplicates(ledger)
    cost_filter = CostFilter(parts.make_screen, ledger, has_path=bool(parts.path.policies))
    draws = RandomSource(space, ledger, parts.generator)
    sources = (*first, published, CoarseSource(_coarse(parts)))
    new = NewNetworks(space, ledger, queue, sources, draws, duplicates, cost_filter)
    last_step = LastStep(ledger, parts.effort, options, parts.dense, parts.measure)
    steps = GenerationSteps(
        queue=queue,
        first=first,
        new=new,
        halving=Halving(ledger.ladder, space, queue, worthy=lambda: worthy(ledger, parts.dense, parts.measure)),
        refinement=Refinement(last_step, space, queue, parts.clock.elapsed),
        patience=Patience(options.patience),
        effort=parts.effort,
        ledger=ledger,
        trials=options.trials,
        elapsed=parts.clock.elapsed,
        time_left=parts.clock.left,
    )
    return AssembledSteps(steps, duplicates, cost_filter)


def worthy(ledger: Ledger, dense: Mapping[str, float | None], measure: Measure) -> frozenset[int]:
    """Return the trials on the front that add to its hypervolume; a small network may be there for being small."""
    best, members = dense.get(SCORE), ledger.front.members
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
        if parts.ledger.outcome(point.policy) is None and parts.space.values(point.policy) not in queued
    ]
    kinds = ((OriginKind.GIVEN,), (OriginKind.DENSE, OriginKind.PATH), (OriginKind.METHOD,))
    user, path, published = (
        PointSource(
            (point for point in points if point.origin.kind in kind),
            parts.space,
            path=parts.path.policies,
            hopeless=parts.effort.path.is_hopeless,
        )
        for kind in kinds
    )
    return (user, path), published


def _coarse(parts: StepParts) -> CoarseProposals:
    space, options = parts.space, parts.options
    coarse = resolutions(space, parts.path.table)
    return CoarseProposals(parts.study, space, coarse, options.sampler, options.seed, options.trials)
