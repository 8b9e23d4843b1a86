"""The search: everything from a task's name to a run folder with a front."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna

from ..errors import Interrupted, no_silent_end
from ..evaluators.objectives import Constraint
from ..evaluators.task import Task
from ..evaluators.threads import torch_threads
from ..jsonfile import read_json
from ..spaces.policy import Policy
from . import journal
from .interrupts import Interrupts
from .new_folder import check_target, create, has_run
from .new_info import new_info
from .options import SearchOptions
from .progress import NoProgress, Progress
from .run_folder import RANKINGS, Run, RunInfo
from .session import Session
from .subject import Subject, prepare
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
    ladder: bool = True,
    start: Sequence[str | Path | Policy | Mapping[str, Any]] = (),
    baselines: bool = False,
    patience: int | None = None,
    export_check: bool = True,
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
        ladder: whether candidates off the path begin without training of their own, and only the best of comparable
            cost are trained further; not where ``samples`` is given, or nothing is inherited.
        start: policies of one's own to try first: files such as a run's ``policies/N.json``, their content or policies.
        baselines: whether uniform pruning is run beside the search, once it is over and at equal budget, to hold its
            front against (:attr:`~espalier.search.run_folder.Run.baselines`).
        patience: how many candidates in a row may leave the front's hypervolume as it is before no more are tried.
        export_check: whether the export is tried on the dense network first; one that cannot be exported is refused.
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
        ladder=ladder,
        baselines=baselines,
        patience=patience,
        export_check=export_check,
    )
    folder = Path(out)
    check_target(folder, resume=resume)
    going_on = resume and has_run(folder)
    if going_on:
        options = options.going_on_from(RunInfo.read(folder).options)
    rankings = read_json(folder / RANKINGS)["rankings"] if going_on else None
    with no_silent_end():
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
        with no_silent_end(), torch_threads(options.threads_per_worker):
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
        search = Session(folder, subject, options, evaluator, progress, interrupts, timer)
        return search.start(info) if info is not None else search.resume()


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    # Optuna announces each study on stderr, in the midst of our progress display.
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
