"""One sitting of a search: it begins a run or goes on with one, and brings it to its end."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import optuna

from ..evaluators.task_checks import is_same_score
from ..evaluators.trust import remember
from .audit import audit_screen
from .baselines import BaselineRunner
from .effort import Effort
from .executors import EXECUTORS, Executor, ExecutorSettings
from .failures import check_success
from .fidelity_ladder import FidelityLadder, climbs, rungs
from .finish import finish
from .generation import AssembledSteps, StepParts, assemble
from .heritage import Heritage
from .interrupts import Interrupts
from .ledger import Ledger
from .loop import SearchLoop
from .new_info import quantisation_of
from .options import SearchOptions, different_run
from .path_training import PathTraining
from .progress import Progress
from .recovery import recover
from .run_folder import Run, RunInfo, journal, open_run
from .run_folder.event_log import DOUBT_EVENT, LOG, EventLog, searched_seconds
from .run_folder.new_folder import refuse_links
from .run_folder.rankings import write_rankings
from .run_folder.run_info import installed_versions
from .run_folder.spending import Spending, settled, spent
from .samplers import derived_seed, make_sampler
from .screen import CostScreen
from .sensitivity_table import SensitivityTable
from .shrinking_path import ShrinkingPath, make_path
from .starting_points import Known
from .subject import SearchEvaluator, Subject
from .timer import SearchClock, Timer
from .training_budget import TrainingBudget


@dataclasses.dataclass(frozen=True)
class Session:
    """The steps of one search, with what they share."""

    folder: Path
    subject: Subject
    options: SearchOptions
    evaluator: SearchEvaluator
    progress: Progress
    interrupts: Interrupts
    timer: Timer

    def start(self, info: RunInfo) -> Run:
        """Begin the run and bring it to its end."""
        write_rankings(self.folder, self.subject.rankings)
        info.write(self.folder)
        remember(info.study_name, info.task_reference)
        self._events.write("started", options=self.options.to_dict())
        if self.subject.training_note:
            self.progress.message(self.subject.training_note)
            self._events.write("training", text=self.subject.training_note, **(self.subject.training or {}))
        if self.subject.doubt is not None:
            self.progress.message(f"warning: {self.subject.doubt}")
            self._events.write(DOUBT_EVENT, text=self.subject.doubt)
        return self._search(info)

    def resume(self) -> Run:
        """Go on with the run in the folder and bring it to its end.

        Raises:
            InputError: it is of another task, device or setting.
        """
        stored = RunInfo.read(self.folder)
        refuse_links(self.folder)
        if not stored.says_metric and stored.metric.direction == self.subject.measure.direction:
            stored = dataclasses.replace(stored, metric=self.subject.measure)
        given = dataclasses.replace(
            stored,
            options=self.options,
            samples=self.subject.samples,
            fingerprints=self.subject.fingerprints_like(stored.fingerprints),
            versions=installed_versions(),
            quantisation=quantisation_of(self.options),
            metric=self.subject.measure,
            training=self.subject.training,
        )
        given.check_resumes(stored)
        journal.refuse_missing(self.folder, stored)
        changed = self._check_data(given, stored)
        torn = journal.repair(self.folder / journal.JOURNAL)
        self._events.end_torn_line()
        renewed = {what: self.subject.fingerprints[what] for what in self.subject.earlier_fingerprints}
        fingerprints = {**stored.fingerprints, **renewed}
        info = dataclasses.replace(stored, options=self.options, says_metric=True, fingerprints=fingerprints)
        info.write(self.folder)
        if self.subject.task_reference == info.task_reference:
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
        for text in self.subject.notes:
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
            with self.interrupts.welcome():
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
        with self.interrupts.welcome():
            text = None if self.subject.notice is None else self.subject.notice()
        if text is not None:
            self.progress.message(text)
            events.write("warning", text=text)

    def _run_baselines(self, info: RunInfo, events: EventLog, budget: Spending) -> None:
        runner = BaselineRunner(
            folder=self.folder,
            space=self.subject.space,
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

    def _coordinate(self, study: optuna.Study, info: RunInfo, events: EventLog) -> Spending:
        clock = SearchClock(self.timer, searched_seconds(events.read()), self.options.budget)
        path = self._path(info)
        effort = self._effort(info, path)
        ledger = self._ledger(study, info, path)
        self._take_over(study, ledger, events)
        for policy in path.policies:
            if (outcome := ledger.outcome(policy)) is not None and outcome.metrics is not None:
                effort.path.learn(policy, outcome.metrics, info.dense.metrics)
        assembled = assemble(self._parts(study, info, ledger, path, effort, clock))
        if self.options.workers > 1 or not path.policies:
            assembled.cost_filter.prepare()  # later on other workers would disturb what it measures
        self._loop(study, info, ledger, assembled, effort, clock)
        ledger.end_ladder()
        budget = settled(events, spent(study, self.options.workers * clock.elapsed()))
        if (made := assembled.cost_filter.screen) is not None:
            with self.interrupts.welcome():
                audit_screen(self.folder, study, self.subject.space, made, self.evaluator, seed=self.options.seed)
        return budget

    def _take_over(self, study: optuna.Study, ledger: Ledger, events: EventLog) -> None:
        """Settle what a killed search left, and take over what the study knows."""
        recovery = recover(study, ledger)
        if any(vars(recovery).values()):
            events.write("recovered", **vars(recovery))
        ledger.load(self.subject.space)

    def _effort(self, info: RunInfo, path: ShrinkingPath) -> Effort:
        training = PathTraining(path.levels, reaches_below=_too_costly(info), measure=info.metric)
        timed = self.options.budget is not None and self.options.samples is None
        return Effort(info.samples, budget=self.options.budget if timed else None, rate=path.rate, path=training)

    def _parts(
        self,
        study: optuna.Study,
        info: RunInfo,
        ledger: Ledger,
        path: ShrinkingPath,
        effort: Effort,
        clock: SearchClock,
    ) -> StepParts:
        finished = sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))
        study.sampler = make_sampler(self.options.sampler, base_seed=self.options.seed, finished=finished)
        return StepParts(
            study=study,
            space=self.subject.space,
            ledger=ledger,
            options=self.options,
            path=path,
            known=self._known(path),
            given=self.subject.given,
            effort=effort,
            clock=clock,
            dense=dict(info.dense.metrics),
            measure=info.metric,
            generator=random.Random(derived_seed(self.options.seed, finished)),
            make_screen=lambda: self._screen(info),
        )

    def _loop(
        self,
        study: optuna.Study,
        info: RunInfo,
        ledger: Ledger,
        assembled: AssembledSteps,
        effort: Effort,
        clock: SearchClock,
    ) -> None:
        executor = self._executor()
        try:
            SearchLoop(
                study=study,
                ledger=ledger,
                steps=assembled.steps,
                duplicates=assembled.duplicates,
                training=TrainingBudget(effort, ledger, clock.elapsed, clock.left),
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

    def _ledger(self, study: optuna.Study, info: RunInfo, path: ShrinkingPath) -> Ledger:
        objectives, constraints = info.objectives, info.parsed_constraints
        climbing = climbs(self.options, rankings=self.subject.rankings is not None)
        ladder = FidelityLadder(rungs(info.samples), objectives, constraints) if climbing else None
        return Ledger(
            study,
            self.folder,
            objectives=objectives,
            constraints=constraints,
            heritage=self._heritage(),
            path=path.policies,
            ladder=ladder,
            measure=info.metric,
        )

    def _known(self, path: ShrinkingPath) -> Known:
        space = self.subject.space
        importance = {} if self.subject.rankings is None else self.subject.rankings.importance
        return Known(space, path.table or SensitivityTable({}), importance.get(space.criteria[0], {}))

    @property
    def _inherits(self) -> bool:
        # What is pruned without rankings has no weights to take over.
        return self.options.inherit and self.subject.rankings is not None

    def _path(self, info: RunInfo) -> ShrinkingPath:
        if not self._inherits:
            return ShrinkingPath()
        with self.interrupts.welcome():
            return make_path(
                self.folder,
                self.subject.space,
                self.evaluator,
                self.options,
                info.parsed_constraints,
                info.dense.metrics,
                info.samples,
                self.timer,
            )

    def _heritage(self) -> Heritage | None:
        rankings = self.subject.rankings
        if not self._inherits or rankings is None:
            return None
        return Heritage(self.subject.space.graph, rankings, self.folder)

    def _screen(self, info: RunInfo) -> CostScreen | None:
        if self.subject.screen is None:
            return None
        with self.interrupts.welcome():
            return self.subject.screen(self.folder, info.parsed_constraints, self._say)

    def _say(self, text: str) -> None:
        self.progress.message(text)
        self._events.write("calibration", text=text)

    def _executor(self) -> Executor:
        options = self.options
        settings = ExecutorSettings(
            self.subject.factory, options.workers, options.threads_per_worker, evaluator=self.evaluator
        )
        return EXECUTORS.get(options.executor)(settings)


def _too_costly(info: RunInfo) -> bool:
    """Return whether the network as it was brought misses a constraint: small ones are wanted, whatever they lose."""
    return any(constraint.violation(info.dense.metrics) > 0 for constraint in info.parsed_constraints)
