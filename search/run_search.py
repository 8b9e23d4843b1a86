"""The search: everything from a task's name to a run folder with a front."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna

from ..errors import Interrupted
from ..evaluators.objectives import Constraint
from ..evaluators.task import Task
from ..evaluators.threads import torch_threads
from ..jsonfile import read_json, write_json
from ..spaces.policy import Policy
from ..spaces.rankings import Rankings
from . import journal
from .audit import audit_screen
from .baselines import BaselineRunner
from .coordinator import Coordinator
from .effort import Effort
from .event_log import LOG, EventLog, searched_seconds
from .executors import EXECUTORS, Executor, ExecutorSettings
from .finish import finish
from .heritage import Heritage
from .interrupts import Interrupts
from .ledger import Ledger
from .new_folder import check_target, create, has_run
from .new_info import new_info, quantisation_of
from .options import SearchOptions
from .progress import NoProgress, Progress
from .proposals import Proposer
from .recovery import recover
from .run_folder import RANKINGS, Run, RunInfo, open_run
from .run_info import installed_versions
from .samplers import derived_seed, make_sampler
from .screen import CostScreen
from .shrinking_path import ShrinkingPath, make_path
from .spending import Spending, settled, spent
from .subject import SearchEvaluator, Subject, prepare
from .timer import Timer


def run_search(
    task: str | Task,
    *,
    out: str | Path,
    device: str = "host",
    trials: int = 50,
    budget: float | str | None = None,
    workers: int = 1,
    threads: int | None = None,
    storage: str | None = None,
    objectives: str | Sequence[str] = ("accuracy", "latency_ms", "size_bytes"),
    constraints: str | Sequence[str | Constraint] = (),
    types: str | Sequence[str] = ("channel", "block"),
    criteria: str | Sequence[str] = ("l2",),
    precision: str | Sequence[str] = ("fp32",),
    sampler: str = "tpe",
    seed: int = 0,
    samples: int | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    data: str | Path | None = None,
    calibrate: bool | None = None,
    inherit: bool = True,
    start: Sequence[str | Path | Policy | Mapping[str, Any]] = (),
    baselines: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Run:
    """Search for configurations of ``task`` that no other beats, and return the run.

    Args:
        task: built-in name, ``file.py:name``, ``package.module:name``, or the task itself.
        out: folder of the run; must be new, or hold a run where ``resume``.
        device: name of a shipped device, or path of a YAML file.
        trials: how many distinct configurations to evaluate in all.
        budget: seconds in all, or a text such as ``30m``.
        workers: processes that evaluate at the same time; 1 evaluates in this process.
        threads: per worker; by default the machine's cores are shared.
        storage: database URL of the study; a journal in the run folder by default.
        objectives: names of metrics.
        constraints: such as ``latency_ms<=5``.
        types: pruning types.
        criteria: importance criteria.
        precision: ``fp32``, ``int8`` or both; an int8 candidate is fine-tuned at fp32 and then quantised.
        sampler: ``tpe``, ``nsga2`` or ``random``.
        seed: of everything random.
        samples: training samples that each candidate is fine-tuned on; by default the task decides.
        resume: go on with the run in ``out``, if there is one.
        progress: shows where the search stands.
        data: folder of the task's data.
        calibrate: whether this machine is calibrated for the network first, so that what breaks a constraint is turned
            down before it is trained; by default where that pays (see :mod:`~espalier.search.screen`).
        inherit: whether candidates start from the weights of larger ones that were trained before them, along a path of
            shrinking networks first; otherwise each starts from the dense network.
        start: policies of one's own to try first: files such as a run's ``policies/N.json``, their content or policies.
        baselines: whether uniform pruning is run beside the search, once it is over and at equal budget, to hold its
            front against (:attr:`~espalier.search.run_folder.Run.baselines`).
        clock: what the budget is counted by, from this call on; ``time.process_time`` counts the CPU seconds of one
            worker.

    Raises:
        InputError: something given cannot be used; an existing run is left untouched.
        Interrupted: the user stopped the search; the run is kept and can be resumed.
        EvaluationError: nothing but failures.
    """
    timer = Timer.start(clock)
    options = SearchOptions(
        task=task if isinstance(task, str) else task.reference or task.name,
        device=device,
        trials=trials,
        budget=budget,
        workers=workers,
        threads=threads,
        storage=storage,
        objectives=objectives,
        constraints=constraints,
        types=types,
        criteria=criteria,
        precision=precision,
        sampler=sampler,
        seed=seed,
        samples=samples,
        data=None if data is None else str(data),
        start=start,
        calibrate=calibrate,
        inherit=inherit,
        baselines=baselines,
    )
    folder = Path(out)
    check_target(folder, resume=resume)
    going_on = resume and has_run(folder)
    if going_on:
        options = options.going_on_from(RunInfo.read(folder).options)
    rankings = read_json(folder / RANKINGS)["rankings"] if going_on else None
    subject = prepare(task, options, rankings=rankings)
    return search_subject(subject, options, folder, resume=resume, progress=progress, timer=timer)


def search_subject(
    subject: Subject,
    options: SearchOptions,
    folder: Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    timer: Timer | None = None,
) -> Run:
    """Search ``subject``; :func:`run_search` with the task made ready. Raises what that raises."""
    shown = progress or NoProgress()
    check_target(folder, resume=resume)
    try:
        with torch_threads(options.threads_per_worker):
            return _run(subject, options, folder, shown, timer or Timer.start(), going_on=resume and has_run(folder))
    except KeyboardInterrupt as interrupt:
        kept = f"the run in {folder} is kept, go on with --resume" if has_run(folder) else "no trial had begun"
        raise Interrupted(f"interrupted; {kept}") from interrupt
    finally:
        shown.stop()


def _run(
    subject: Subject, options: SearchOptions, folder: Path, progress: Progress, timer: Timer, *, going_on: bool
) -> Run:
    evaluator = subject.factory()
    info = None if going_on else new_info(subject, options, evaluator)
    create(folder)
    with journal.exclusive(folder), _quiet_optuna(), Interrupts() as interrupts:
        search = _Search(folder, subject, options, evaluator, progress, interrupts, timer)
        return search.start(info) if info is not None else search.resume()


@dataclasses.dataclass(frozen=True)
class _Search:
    """The steps of one search, with what they share."""

    folder: Path
    subject: Subject
    options: SearchOptions
    evaluator: SearchEvaluator
    progress: Progress
    interrupts: Interrupts
    timer: Timer

    def start(self, info: RunInfo) -> Run:
        write_json(self.folder / RANKINGS, {"version": 1, "rankings": dict(self.subject.rankings)})
        info.write(self.folder)
        self._events.write("started", options=self.options.to_dict())
        return self._search(info)

    def resume(self) -> Run:
        stored = RunInfo.read(self.folder)
        given = dataclasses.replace(
            stored,
            options=self.options,
            samples=self.subject.samples,
            fingerprints=dict(self.subject.fingerprints),
            versions=installed_versions(),
            quantisation=quantisation_of(self.options),
        )
        given.check_resumes(stored)
        torn = journal.repair(self.folder / journal.JOURNAL)
        self._events.end_torn_line()
        info = dataclasses.replace(stored, options=self.options)
        info.write(self.folder)
        self._events.write("resumed", options=self.options.to_dict())
        if torn:
            self._events.write("warning", text=f"cut a torn last line of {torn} bytes off {journal.JOURNAL}")
        return self._search(info)

    @property
    def _events(self) -> EventLog:
        return EventLog(self.folder / LOG)

    def _search(self, info: RunInfo) -> Run:
        events = self._events
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
        if self.options.baselines:
            self._run_baselines(info, events, budget)
        return run

    def _run_baselines(self, info: RunInfo, events: EventLog, budget: Spending) -> None:
        runner = BaselineRunner(
            folder=self.folder,
            space=self.subject.space,
            evaluator=self.evaluator,
            options=self.options,
            constraints=info.parsed_constraints,
            clock=self.timer.clock,
            interrupts=self.interrupts,
            progress=self.progress,
            events=events,
        )
        runner.run(budget)

    def _coordinate(self, study: optuna.Study, info: RunInfo, events: EventLog) -> Spending:
        searched_before = searched_seconds(events.read())
        path = self._path(info)
        ledger = Ledger(
            study,
            self.folder,
            objectives=self.options.parsed_objectives,
            constraints=info.parsed_constraints,
            heritage=self._heritage(),
            path=path.policies,
        )
        recovery = recover(study, ledger)
        if any(vars(recovery).values()):
            events.write("recovered", **vars(recovery))
        ledger.load(self.subject.space)
        finished = sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))
        study.sampler = make_sampler(self.options.sampler, base_seed=self.options.seed, finished=finished)
        generator = random.Random(derived_seed(self.options.seed, finished))
        screen = self._screen(info)
        proposer = Proposer(
            study,
            self.subject.space,
            ledger,
            generator,
            given=self.subject.given,
            screen=screen,
            path=path.policies,
        )
        executor = self._executor()
        try:
            Coordinator(
                study=study,
                ledger=ledger,
                proposer=proposer,
                executor=executor,
                options=self.options,
                effort=Effort(
                    info.samples,
                    timed=self.options.budget is not None and self.options.samples is None,
                    rate=path.rate,
                    shares=path.shares,
                ),
                dense=dict(info.dense.metrics),
                events=events,
                progress=self.progress,
                interrupts=self.interrupts,
                searched_before=searched_before,
                timer=self.timer,
            ).run()
        finally:
            executor.close()
        budget = settled(events, spent(study, self.options.workers * (searched_before + self.timer.elapsed())))
        if screen is not None:
            with self.interrupts.welcome():
                audit_screen(self.folder, study, self.subject.space, screen, self.evaluator, seed=self.options.seed)
        return budget

    @property
    def _inherits(self) -> bool:
        # What is pruned without rankings has no weights to take over.
        return self.options.inherit and bool(self.subject.rankings)

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
        if not self._inherits:
            return None
        return Heritage(self.subject.space.graph, Rankings.from_dict(self.subject.rankings), self.folder)

    def _screen(self, info: RunInfo) -> CostScreen | None:
        if self.subject.screen is None:
            return None
        with self.interrupts.welcome():
            return self.subject.screen(self.folder, info.parsed_constraints, self._say)

    def _say(self, text: str) -> None:
        self.progress.message(text)
        self._events.write("calibration", text=text)

    def _executor(self) -> Executor:
        if self.options.workers == 1:
            settings = ExecutorSettings(lambda: self.evaluator, 1, self.options.threads_per_worker)
            return EXECUTORS.get("in-process")(settings)
        settings = ExecutorSettings(self.subject.factory, self.options.workers, self.options.threads_per_worker)
        return EXECUTORS.get("processes")(settings)


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    # Optuna announces each study on stderr, in the midst of our progress display.
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
