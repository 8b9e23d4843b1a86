"""A run's path of shrinking networks: found once, kept in the run folder, followed by every coordinator of the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import RunFolderError, describe
from ...evaluators.objectives import Constraint
from ...jsonfile import read_json, write_json
from ...spaces.policy import Policy
from ...spaces.search_space import SearchSpace
from ..budget.shares import PATH_SHARE, PROBE_SECONDS, PROBE_SECONDS_PER_TRIAL, PROBE_SHARE, TRAINED_SHARE
from ..budget.timer import Timer
from ..options import SearchOptions
from ..problem import SearchEvaluator
from .nested_levels import Level, nested_levels
from .recovery import Recovery
from .table import Probe, Prober, SensitivityTable

PATH = "path.json"
VERSION = 2
MOST_LEVELS = 8
TRIALS_PER_LEVEL = 3
"""A search by trials has at most one level for so many of them."""
PRACTICE_BATCHES = 4


@dataclass(frozen=True)
class NestedPath:
    """Networks of nested policies, largest first, and how fast this machine trains."""

    levels: tuple[Level, ...] = ()
    rate: float | None = None
    """Training samples in a second, dense; ``None`` where nobody has timed it."""
    table: SensitivityTable | None = None
    """What it was told from; ``None`` where that was not kept, or there is no path."""

    @property
    def policies(self) -> tuple[Policy, ...]:
        """The networks' policies."""
        return tuple(level.policy for level in self.levels)


def find_nested_path(
    folder: Path,
    space: SearchSpace,
    evaluator: SearchEvaluator,
    options: SearchOptions,
    constraints: tuple[Constraint, ...],
    dense: Mapping[str, float | None],
    samples: int,
    timer: Timer,
) -> NestedPath:
    """Return the run's path, found before or now; an empty one where there is no cost to descend in.

    Raises:
        RunFolderError: the stored path is torn or of another kind.
    """
    levels = min(MOST_LEVELS, options.trials // TRIALS_PER_LEVEL)
    cost = next((o.name for o in options.parsed_objectives if not o.is_score), None)
    if levels < 1 or cost is None:
        return NestedPath()
    if (folder / PATH).exists():
        return NestedPath(_stored(folder / PATH), _rate(evaluator, timer), SensitivityTable.read(folder))
    rate = _rate(evaluator, timer)
    table = SensitivityTable.probed(
        space,
        _prober(evaluator, cost),
        enough=_enough(options, timer),
        recovery=_recovery(evaluator, options, samples, levels, rate) if _may_drop(space) else None,
    )
    found = nested_levels(space, table, levels=levels, share=_share(constraints, cost, dense))
    table.write(folder)
    write_json(folder / PATH, {"version": VERSION, "cost": cost, "levels": [_plain(level) for level in found]})
    return NestedPath(found, rate if found else None, table)


def _prober(evaluator: SearchEvaluator, cost: str) -> Prober:
    def probe(policies: Sequence[Policy]) -> tuple[Probe, ...]:
        found = (e.metrics for e in evaluator.probe(policies))
        return tuple(Probe(float(metrics[cost] or 0.0), float(metrics["loss"] or 0.0)) for metrics in found)

    return probe


def _may_drop(space: SearchSpace) -> bool:
    # Widths mend much alike: where there is nothing else, the time that it takes to tell is better spent on training.
    return any("block" in space.offered(group) for group in space.graph)


def _recovery(evaluator: SearchEvaluator, options: SearchOptions, samples: int, levels: int, rate: float) -> Recovery:
    """Return what tells how losses recover, with its share of all the training that the search can do."""
    if options.budget is None or options.samples is not None:
        return Recovery(evaluator.trained_loss, int(TRAINED_SHARE * options.trials * samples), samples)
    affordable = options.budget * rate
    return Recovery(evaluator.trained_loss, int(TRAINED_SHARE * affordable), int(PATH_SHARE * affordable / levels))


def _share(constraints: tuple[Constraint, ...], cost: str, dense: Mapping[str, float | None]) -> float:
    bounds = [c.bound for c in constraints if c.objective.name == cost and c.operator == "<="]
    whole = dense.get(cost)
    return min([1.0, *(bound / whole for bound in bounds)]) if whole else 1.0


def _enough(options: SearchOptions, timer: Timer) -> Callable[[], bool]:
    share = PROBE_SECONDS_PER_TRIAL * options.trials if options.budget is None else PROBE_SHARE * options.budget
    limit = min(PROBE_SECONDS, share)
    begin = timer.elapsed()
    return lambda: timer.elapsed() - begin > limit


def _rate(evaluator: SearchEvaluator, timer: Timer) -> float:
    evaluator.time_training(1)  # the first batch pays for what is set up once
    begin = timer.elapsed()
    samples = evaluator.time_training(PRACTICE_BATCHES)
    return samples / max(timer.elapsed() - begin, 1e-6)


def _plain(level: Level) -> dict[str, Any]:
    return {"policy": level.policy.to_dict(), "cost": level.cost, "loss": level.loss}


def _stored(path: Path) -> tuple[Level, ...]:
    levels = read_json(path, version=VERSION).get("levels")
    if not isinstance(levels, list):
        expected, remedy = "what Espalier wrote", "Restore it from a copy, or start a new run."
        raise RunFolderError(describe(f"{path} is no path", expected=expected, remedy=remedy))
    return tuple(Level(Policy.from_dict(x["policy"]), float(x["cost"]), float(x["loss"])) for x in levels)
