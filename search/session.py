"""One sitting of a search: it begins a run or goes on with one, and brings it to its end."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import optuna

from ..evaluators.task.task_checks import is_same_score
from ..evaluators.task.trust import remember
from .archive import Archive
from .baselines import BaselineRunner
from .budget.candidate_training import CandidateTraining
from .budget.path_training import PathTraining
from .budget.timer import SearchClock, Timer
from .budget.training_budget import TrainingBudget
from .checkpoints import Checkpoints
from .cost_filter import CostFilter
from .cost_filter_audit import audit_cost_filter
from .executors import EXECUTORS, Executor, ExecutorSettings
from .failures import check_success
from .fidelity_ladder import FidelityLadder, climbs, rungs
from .finish import finish
from .generation import AssembledSteps, StepParts, assemble
from .interrupted_trials import recover
from .interrupts import Interrupts
from .loop import SearchLoop
from .new_info import quantisation_of
from .options import SearchOptions, different_run
from .problem import SearchEvaluator, SearchProblem
from .progress import Progress
from .run_folder import Run, RunInfo, journal, open_run
from .run_folder.event_log import DOUBT_EVENT, LOG, EventLog, searched_seconds
from .run_folder.new_folder import refuse_links
from .run_folder.rankings import write_rankings
from .run_folder.run_info import installed_versions
from .run_folder.used_budget import UsedBudget, settled, spent
from .samplers import derived_seed, make_sampler
from .sensitivity.nested_path import NestedPath, find_nested_path
from .sensitivity.table import SensitivityTable
from .starting_points import Known


@dataclasses.dataclass(frozen=True)
class Session:
    """The steps of one search, with what they share."""

    folder: Path
    problem: SearchProblem
    options: SearchOptions
    evaluator: SearchEvaluator
    progress: Progress
    interrupts: Interrupts
    timer: Timer

    def start(self, info: RunInfo) -> Run:
        """Begin the run and bring it to its end."""
        write_rankings(self.folder, self.problem.rankings)
        info.write(self.folder)
        remember(info.study_name, info.task_reference)
        self._events.write("started", options=self.options.to_dict())
        if self.problem.training_note:
            self.progress.message(self.problem.training_note)
            self._events.write("training", text=self.problem.training_note, **(self.problem.training or {}))
        if self.problem.doubt is not None:
            self.progress.message(f"warning: {self.problem.doubt}")
            self._events.write(DOUBT_EVENT, text=self.problem.doubt)
        return self._search(info)

    def resume(self) -> Run:
        """Go on with the run in the folder and bring it to its end.

        Raises:
            InputError: it is of another task, device or setting.
        """
        stored = RunInfo.read(self.folder)
        refuse_links(self.folder)
        if not stored.says_metric and stored.metric.direction == self.problem.measure.direction:
            stored = dataclasses.replace(stored, metric=self.problem.measure)
        given = dataclasses.replace(
            stored,
            options=self.options,
            samples=self.problem.samples,
            fingerprints=self.problem.fingerprints_like(stored.fingerprints),
            versions=installed_versions(),
            quantisation=quantisation_of(self.options),
            metric=self.problem.measure,
            training=self.problem.training,
        )
        given.check_resumes(stored)
        journal.refuse_missing(self.folder, stored)
        changed = self._check_data(given, stored)
        torn = journal.repair(self.folder / journal.JOURNAL)
        self._events.end_torn_line()
        renewed = {what: self.problem.fingerprints[what] for what in self.problem.earlier_fingerprints}
        fingerprints = {**stored.fingerprints, **renewed}
        info = dataclasses.replace(stored, options=self.options, says_metric=True, fingerprints=fingerprints)
        info.write(self.folder)
        if self.problem.task_reference == info.task_reference:
            remember(info.study_name, info.task_reference)
        self._events.write("resumed", options=self.options.to_dict())
        if changed is not None:
            self._warn(changed)
        if torn:
            self._events.write("warning", text=f"cut a torn last line of {torn} bytes off {journal.JOURNAL}")
        return self._search(info)

    def _check_data(self, given: RunInfo, stored: RunInfo) -> str | None:
        """Return what is to be said of data that look changed, and on which the dense network scores as it did.

        Raises:
            RunFolderError: it scores otherwise.
        """
        if (difference := given.has_other_data(stored)) is None:
            return None
        found, known = self.evaluator.dense().metrics.get("accuracy"), stored.dense.metrics.get("accuracy")
        if not is_same_score(found, known):
            raise different_run([f"{difference}, and the dense network scores {found} on them, in the run {known}"])
        return f"{difference}; the dense network scores as it did, so the run goes on"

    def _warn(self, text: str) -> None:
        self.progress.message(f"warning: {text}")
        self._events.write("warning", text=text)

    def _tell_notes(self) -> None:
        for text in self.problem.notes:
            self.progress.message(f"note: {text}")
            self._events.write("note", text=text)

    @property
    def _events(self) -> EventLog:
        return EventLog(self.folder / LOG)

    def _search(self, info: RunInfo) -> Run:
        events = self._events
        self._give_notice(events)
        self._tell_notes()
        try:
            with journal.study(self.folder, info) as study:
                budget = self._coordinate(study, info, events)
            with self.interrupts.interruptible():
                finish(self.folder, self.evaluator, self.progress)
        except KeyboardInterrupt:
            open_run(self.folder).write_front()
            events.write("interrupted")
            raise
        run = open_run(self.folder)
        run.write_front()
        events.write("finished", front=len(run.front.configurations))
        check_success(run)
        if self.options.baselines:
            self._run_baselines(info, events, budget)
        return run

    def _give_notice(self, events: EventLog) -> None:
        with self.interrupts.interruptible():
            text = None if self.problem.notice is None else self.problem.notice()
        if text is not None:
            self.progress.message(text)
            events.write("warning", text=text)

    def _run_baselines(self, info: RunInfo, events: EventLog, budget: UsedBudget) -> None:
        runner = BaselineRunner(
            folder=self.folder,
            space=self.problem.space,
            evaluator=self.evaluator,
            options=self.options,
            constraints=info.parsed_constraints,
            measure=info.metric,
            clock=self.timer.clock,
            interrupts=self.interrupts,
            progress=self.progress,
            events=events,
        )
        runner.run(budget)

    def _coordinate(self, study: optuna.Study, info: RunInfo, events: EventLog) -> UsedBudget:
        clock = SearchClock(self.timer, searched_seconds(events.read()), self.options.budget)
        path = self._path(info)
        training_budget = self._training_budget(info, path)
        archive = self._archive(study, info, path)
        self._take_over(study, archive, events)
        for policy in path.policies:
            if (outcome := archive.outcome(policy)) is not None and outcome.metrics is not None:
                training_budget.path.learn(policy, outcome.metrics, info.dense.metrics)
        assembled = assemble(self._parts(study, info, archive, path, training_budget, clock))
        if self.options.workers > 1 or not path.policies:
            assembled.cost_filter.prepare()  # later on other workers would disturb what it measures
        self._loop(study, info, archive, assembled, training_budget, clock)
        archive.end_ladder()
        budget = settled(events, spent(study, self.options.workers * clock.elapsed()))
        if (made := assembled.cost_filter.made) is not None:
            with self.interrupts.interruptible():
                audit_cost_filter(self.folder, study, self.problem.space, made, self.evaluator, seed=self.options.seed)
        return budget

    def _take_over(self, study: optuna.Study, archive: Archive, events: EventLog) -> None:
        """Settle what a killed search left, and take over what the study knows."""
        recovery = recover(study, archive)
        if any(vars(recovery).values()):
            events.write("recovered", **vars(recovery))
        archive.load(self.problem.space)

    def _training_budget(self, info: RunInfo, path: NestedPath) -> TrainingBudget:
        training = PathTraining(path.levels, reaches_below=_too_costly(info), measure=info.metric)
        timed = self.options.budget is not None and self.options.samples is None
        return TrainingBudget(
            info.samples, budget=self.options.budget if timed else None, rate=path.rate, path=training
        )

    def _parts(
        self,
        study: optuna.Study,
        info: RunInfo,
        archive: Archive,
        path: NestedPath,
        training_budget: TrainingBudget,
        clock: SearchClock,
    ) -> StepParts:
        finished = sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))
        study.sampler = make_sampler(self.options.sampler, base_seed=self.options.seed, finished=finished)
        return StepParts(
            study=study,
            space=self.problem.space,
            archive=archive,
            options=self.options,
            path=path,
            known=self._known(path),
            given=self.problem.given,
            training_budget=training_budget,
            clock=clock,
            dense=dict(info.dense.metrics),
            measure=info.metric,
            generator=random.Random(derived_seed(self.options.seed, finished)),
            make_cost_filter=lambda: self._cost_filter(info),
        )

    def _loop(
        self,
        study: optuna.Study,
        info: RunInfo,
        archive: Archive,
        assembled: AssembledSteps,
        training_budget: TrainingBudget,
        clock: SearchClock,
    ) -> None:
        executor = self._executor()
        try:
            SearchLoop(
                study=study,
                archive=archive,
                steps=assembled.steps,
                duplicates=assembled.duplicates,
                training=CandidateTraining(training_budget, archive, clock.elapsed, clock.left),
                executor=executor,
                options=self.options,
                dense=dict(info.dense.metrics),
                events=self._events,
                progress=self.progress,
                interrupts=self.interrupts,
                clock=clock,
                measure=info.metric,
            ).run()
        finally:
            executor.close()

    def _archive(self, study: optuna.Study, info: RunInfo, path: NestedPath) -> Archive:
        objectives, constraints = info.objectives, info.parsed_constraints
        climbing = climbs(self.options, rankings=self.problem.rankings is not None)
        ladder = FidelityLadder(rungs(info.samples), objectives, constraints) if climbing else None
        return Archive(
            study,
            self.folder,
            objectives=objectives,
            constraints=constraints,
            checkpoints=self._checkpoints(),
            path=path.policies,
            ladder=ladder,
            measure=info.metric,
        )

    def _known(self, path: NestedPath) -> Known:
        space = self.problem.space
        importance = {} if self.problem.rankings is None else self.problem.rankings.importance
        return Known(space, path.table or SensitivityTable({}), importance.get(space.criteria[0], {}))

    @property
    def _inherits(self) -> bool:
        # What is pruned without rankings has no weights to take over.
        return self.options.inherit and self.problem.rankings is not None

    def _path(self, info: RunInfo) -> NestedPath:
        if not self._inherits:
            return NestedPath()
        with self.interrupts.interruptible():
            return find_nested_path(
                self.folder,
                self.problem.space,
                self.evaluator,
                self.options,
                info.parsed_constraints,
                info.dense.metrics,
                info.samples,
                self.timer,
            )

    def _checkpoints(self) -> Checkpoints | None:
        rankings = self.problem.rankings
        if not self._inherits or rankings is None:
            return None
        return Checkpoints(self.problem.space.graph, rankings, self.folder)

    def _cost_filter(self, info: RunInfo) -> CostFilter | None:
        if self.problem.cost_filter is None:
            return None
        with self.interrupts.interruptible():
            return self.problem.cost_filter(self.folder, info.parsed_constraints, self._say)

    def _say(self, text: str) -> None:
        self.progress.message(text)
        self._events.write("calibration", text=text)

    def _executor(self) -> Executor:
        options = self.options
        settings = ExecutorSettings(
            self.problem.factory, options.workers, options.threads_per_worker, evaluator=self.evaluator
        )
        return EXECUTORS.get(options.executor)(settings)


def _too_costly(info: RunInfo) -> bool:
    """Return whether the network as it was brought misses a constraint: small ones are wanted, whatever they lose."""
    return any(constraint.violation(info.dense.metrics) > 0 for constraint in info.parsed_constraints)
