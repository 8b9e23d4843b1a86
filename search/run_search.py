"""The search: everything from a task's name to a run folder with a front."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna

from ..errors import Interrupted, no_silent_end
from ..evaluators.task.task import Task
from ..evaluators.training.threads import torch_threads
from .budget.timer import Timer
from .interrupts import Interrupts
from .new_info import new_info
from .options import SearchOptions, options_of
from .problem import SearchProblem, prepare
from .progress import NoProgress, Progress
from .run_folder import Run, RunInfo, journal
from .run_folder.new_folder import check_target, create, has_run
from .run_folder.rankings import read_rankings
from .session import Session


def run_search(
    task: str | Task,
    *,
    out: str | Path,
    resume: bool = False,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.monotonic,
    **options: Any,
) -> Run:
    """Search for configurations of ``task`` that no other beats, and return the run.

    Args:
        task: built-in name, ``file.py:name``, ``package.module:name``, or the task itself.
        out: folder of the run; must be new, or hold a run where ``resume``.
        resume: go on with the run in ``out``, if there is one.
        progress: shows where the search stands.
        clock: what the budget is counted by, from this call on; ``time.process_time`` counts the CPU seconds of one
            worker.
        options: fields of :class:`~espalier.search.options.SearchOptions` by name, such as ``device="host"`` or
            ``trials=50``. What the command line writes as a text may be given as values: lists of names,
            :class:`~espalier.evaluators.objectives.Constraint`, policies for ``start``.

    Raises:
        InputError: something given cannot be used; an existing run is left untouched.
        Interrupted: the user stopped the search; the run is kept and can be resumed.
        EvaluationError: nothing but failures.
    """
    timer = Timer.start(clock)
    asked = options_of(task, options)
    folder = Path(out)
    check_target(folder, resume=resume)
    going_on = resume and has_run(folder)
    if going_on:
        asked = asked.going_on_from(RunInfo.read(folder).options)
    rankings = read_rankings(folder) if going_on else None
    with no_silent_end():
        problem = prepare(task, asked, rankings=rankings)
    return search_problem(problem, asked, folder, resume=resume, progress=progress, timer=timer)


def search_problem(
    problem: SearchProblem,
    options: SearchOptions,
    folder: Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    timer: Timer | None = None,
) -> Run:
    """Search ``problem``; :func:`run_search` with the task made ready. Raises what that raises."""
    shown = progress or NoProgress()
    check_target(folder, resume=resume)
    try:
        with no_silent_end(), torch_threads(options.threads_per_worker):
            return _run(problem, options, folder, shown, timer or Timer.start(), going_on=resume and has_run(folder))
    except KeyboardInterrupt as interrupt:
        kept = f"the run in {folder} is kept, go on with --resume" if has_run(folder) else "no trial had begun"
        raise Interrupted(f"interrupted; {kept}") from interrupt
    finally:
        shown.stop()


def _run(
    problem: SearchProblem, options: SearchOptions, folder: Path, progress: Progress, timer: Timer, *, going_on: bool
) -> Run:
    evaluator = problem.factory()
    info = None if going_on else new_info(problem, options, evaluator)
    create(folder)
    with journal.exclusive(folder), _quiet_optuna(), Interrupts() as interrupts:
        search = Session(folder, problem, options, evaluator, progress, interrupts, timer)
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
