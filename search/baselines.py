"""What a run's front is held against: uniform pruning, at the budget that the search itself used up.

``uniform`` cuts each level of a ladder from the dense network and trains it alone (Li et al., "Pruning Filters for
Efficient ConvNets", ICLR 2017, arXiv:1608.08710); ``iterative uniform`` cuts each from the fine-tuned level before it
(Han et al., "Learning both Weights and Connections for Efficient Neural Networks", NeurIPS 2015, arXiv:1506.02626).
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..evaluators.front import Front
from ..evaluators.objectives import SCORE, Constraint
from ..evaluators.request import Ancestor, EvaluationRequest, FinishRequest, batch_seed
from ..evaluators.task.measure import ACCURACY, Measure
from ..spaces.policy import Policy
from ..spaces.search_space import SearchSpace
from .budget.timer import Timer
from .budget.training_budget import TrainingBudget
from .executors.base import carry_out
from .interrupts import Interrupts
from .options import SearchOptions
from .problem import SearchEvaluator
from .progress import Progress
from .run_folder.baseline_record import (
    BASELINES,
    Baseline,
    Level,
    baseline_folder,
    level_weights,
    read_baseline,
    write_baseline,
)
from .run_folder.event_log import BASELINE_EVENT, EventLog
from .run_folder.finished_networks import write_finished
from .run_folder.used_budget import UsedBudget

SPARSITIES = tuple(eighths / 8 for eighths in range(1, 7))
PRACTICE_BATCHES = 4


def levels(space: SearchSpace) -> tuple[tuple[float, Policy], ...]:
    """Return the ladder, each network once, largest first, with the sparsity asked for."""
    found: dict[Policy, float] = {}
    for sparsity in SPARSITIES:
        policy = Policy.uniform(
            space.graph, sparsity, criterion=space.criteria[0], channel_multiple=space.channel_multiple
        )
        found.setdefault(policy, sparsity)
    found.pop(Policy.dense(space.graph), None)
    return tuple((sparsity, policy) for policy, sparsity in found.items())


@dataclass(frozen=True)
class BaselineRunner:
    """Trains the baselines of one run, beside its own trials.

    Args:
        folder: of the run.
        space: says groups, criterion, widths and precisions.
        evaluator: the search's own.
        options: of the search.
        constraints: the run's, the device's limits included.
        clock: what the search's budget is counted by.
        interrupts: raise while a network is trained, and nowhere else.
        progress: is told every network.
        measure: what the score is.
    """

    folder: Path
    space: SearchSpace
    evaluator: SearchEvaluator
    options: SearchOptions
    constraints: tuple[Constraint, ...]
    clock: Callable[[], float]
    interrupts: Interrupts
    progress: Progress
    events: EventLog
    measure: Measure = ACCURACY

    def run(self, budget: UsedBudget) -> None:
        """Bring every baseline to its end; what was trained before stays, unless the search has gone on since."""
        for name, inherits in BASELINES.items():
            folder = baseline_folder(self.folder, name)
            known = read_baseline(folder)
            if known is not None and known.budget != budget:
                shutil.rmtree(folder)
                known = None
            baseline = known or Baseline(name, budget)
            if not baseline.finished:
                (folder / "weights").mkdir(parents=True, exist_ok=True)
                self._finish(self._trained(baseline, folder, inherits=inherits), folder)
            shutil.rmtree(folder / "weights", ignore_errors=True)

    def _trained(self, baseline: Baseline, folder: Path, *, inherits: bool) -> Baseline:
        wanted = list(_steps(self.space))
        pace = self._pace(baseline, len(levels(self.space)))
        for number, (sparsity, policy, trains) in enumerate(wanted, start=1):
            if number <= len(baseline.levels):
                continue
            left = sum(trains for _, _, trains in wanted[number - 1 :])
            samples = pace.samples(baseline, left) if trains else 0
            ancestor = _ancestor(baseline, policy, folder, inherits=inherits)
            weights = str(level_weights(folder, number).resolve())
            request = EvaluationRequest(
                number, policy, samples, batch_seed(self.options.seed, ancestor), weights, ancestor
            )
            level = self._evaluated(sparsity, request)
            pace.learn(level)
            baseline = dataclasses.replace(baseline, levels=(*baseline.levels, level))
            write_baseline(folder, baseline)
            self._say(baseline, len(wanted))
        return baseline

    def _pace(self, baseline: Baseline, count: int) -> _Pace:
        if self.options.budget is None:
            return _Pace(baseline.budget.samples // max(1, count), None)
        with self.interrupts.interruptible():
            self.evaluator.time_training(1)  # the first batch pays for what is set up once
            timer = Timer.start(self.clock)
            samples = self.evaluator.time_training(PRACTICE_BATCHES)
        # No number of samples bounds what the time allows.
        return _Pace(0, TrainingBudget(sys.maxsize, baseline.budget.seconds, rate=samples / max(timer.elapsed(), 1e-6)))

    def _evaluated(self, sparsity: float, request: EvaluationRequest) -> Level:
        timer = Timer.start(self.clock)
        with self.interrupts.interruptible():
            done = carry_out(self.evaluator, request)
        return Level(request.trial, sparsity, request.policy, done.evaluation, done.error, timer.elapsed())

    def _finish(self, baseline: Baseline, folder: Path) -> None:
        """Store final numbers of the front's members; their test data are read here, once."""
        front = Front.of(
            baseline.configurations,
            objectives=self.options.parsed_objectives,
            dense={},
            constraints=self.constraints,
            measure=self.measure,
        )
        requests = [FinishRequest(c.trial, c.policy, str(level_weights(folder, c.trial))) for c in front.configurations]
        with self.interrupts.interruptible():
            networks = self.evaluator.finish(requests)
        write_finished(folder, networks)
        self.events.write(f"{BASELINE_EVENT} finished", name=baseline.name)

    def _say(self, baseline: Baseline, count: int) -> None:
        level = baseline.levels[-1]
        score = None if level.evaluation is None else level.evaluation.metrics.get(SCORE)
        found = level.reason if score is None else f"{self.measure.name} {score:.4f}"
        self.progress.message(f"baseline {baseline.name}: network {level.number} of {count}, {found}")
        self.events.write(f"{BASELINE_EVENT} trial", name=baseline.name, level=level.number, reason=level.reason)


@dataclass(frozen=True)
class _Pace:
    """Shares a baseline's budget out over its levels: in samples, or in seconds where there is a training budget."""

    each: int
    training_budget: TrainingBudget | None

    def samples(self, baseline: Baseline, levels_left: int) -> int:
        if self.training_budget is None:
            return self.each
        return self.training_budget.off_path((baseline.budget.seconds - baseline.seconds) / levels_left)

    def learn(self, level: Level) -> None:
        if self.training_budget is not None and level.evaluation is not None:
            self.training_budget.learn(level.evaluation.samples, level.seconds, level.evaluation.seconds)


def _steps(space: SearchSpace) -> Iterator[tuple[float, Policy, bool]]:
    """Yield each level at each precision, and whether it is trained: weights for one precision serve the others too."""
    for sparsity, policy in levels(space):
        for precision in space.precisions:
            yield sparsity, dataclasses.replace(policy, precision=precision), precision == space.precisions[0]


def _ancestor(baseline: Baseline, policy: Policy, folder: Path, *, inherits: bool) -> Ancestor | None:
    """Return whose weights a level starts from: its own at another precision, else those of the level before."""
    known = [level for level in baseline.levels if level.evaluation is not None]
    own = [level for level in known if level.policy.choices == policy.choices]
    found = next(iter(own or (known[::-1] if inherits else [])), None)
    if found is None or found.evaluation is None:
        return None
    seen = found.evaluation.samples + found.evaluation.inherited_samples
    return Ancestor(found.number, found.policy, str(level_weights(folder, found.number).resolve()), seen)
