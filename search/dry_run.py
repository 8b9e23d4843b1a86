"""What a search would do, found out without one: groups, the size of the space and how long it would take."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from ..evaluators.request import EvaluationRequest
from ..evaluators.task.task import Task
from ..spaces.graph.groups import FrozenGroup, Group
from .attainable import check_constraints, check_objectives
from .fidelity_ladder import climbs
from .options import SearchOptions, options_of
from .problem import SearchProblem, prepare
from .run_folder.baseline_record import BASELINES
from .starting_points import Known, starting_points


@dataclass(frozen=True)
class DryRun:
    """What a search would have before it."""

    groups: tuple[Group, ...]
    frozen: tuple[FrozenGroup, ...]
    size: int
    """How many different policies there are."""
    starting_points: int
    """How many of the trials are starting points."""
    samples: int
    """Fidelity: training samples that each candidate would be fine-tuned on in full."""
    evaluation_seconds: float
    """Wall time of the one evaluation that was tried: half of every group removed."""
    seconds: float
    """Estimated wall time of the whole search, with its baselines where they are asked for; workers are taken to run
    without hindering each other. Where candidates climb a ladder it is the most it can be: few are trained in full."""
    climbs: bool
    """Whether candidates off the path climb a ladder of fidelities."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        groups = [{"name": g.name, "channels": g.channels, "verification": g.verification} for g in self.groups]
        frozen = [{"name": f.name, "channels": f.channels, "reason": f.reason, "code": f.code} for f in self.frozen]
        return {**vars(self), "groups": groups, "frozen": frozen}


def dry_run(task: str | Task, **options: Any) -> DryRun:
    """Do all that a search does before its first trial, and one evaluation to time it; nothing is written.

    Args:
        task: as for :func:`~espalier.search.run_search.run_search`.
        options: fields of :class:`~espalier.search.options.SearchOptions` by name. Whether constraints can be met at
            all is checked.

    Raises:
        InputError: something given cannot be used.
    """
    asked = options_of(task, options)
    return dry_run_problem(prepare(task, asked), asked)


def dry_run_problem(problem: SearchProblem, options: SearchOptions) -> DryRun:
    """Return what a search of ``problem`` would have before it; :func:`dry_run` with the task made ready."""
    evaluator = problem.factory()
    dense = evaluator.dense().metrics
    check_objectives(options.parsed_objectives, dense, problem.device_name)
    check_constraints((*options.parsed_constraints, *problem.limits), problem.space, evaluator, dense)
    points = starting_points(Known(problem.space), problem.given)
    own = starting_points(Known(problem.space))
    half = own[min(1, len(own) - 1)].policy
    begin = time.perf_counter()
    evaluator.evaluate(EvaluationRequest(0, half, problem.samples, options.seed))
    each = time.perf_counter() - begin
    trials = min(options.trials, problem.space.size)
    whole = each * math.ceil(trials / options.workers)
    limit = math.inf if options.budget is None else options.budget
    beside = len(BASELINES) * min(each * trials, limit * options.workers) if options.baselines else 0.0
    return DryRun(
        groups=problem.space.graph.groups,
        frozen=problem.space.graph.frozen,
        size=problem.space.size,
        starting_points=min(trials, len(points)),
        samples=problem.samples,
        evaluation_seconds=each,
        seconds=min(whole, limit) + beside,
        climbs=climbs(options, rankings=problem.rankings is not None),
    )
