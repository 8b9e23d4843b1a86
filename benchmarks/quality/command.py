"""The benchmark's command.

    python -m espalier.benchmarks.quality [run] [--methods M ...] [--tasks T ...] [--seeds S ...] [--budget SECONDS]
    python -m espalier.benchmarks.quality summary

``run`` goes through all methods, tasks and seeds that have no result yet, so that it can be stopped at any time and run
in parts; ``summary`` prints the tables and writes summary.json and fronts.html beside the results. A task is a name or
a reference such as FILE.py:NAME. Times are CPU seconds of one thread, but a machine that is busy with other work makes
each of them worth less: compare runs that were taken under like conditions.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from espalier.errors import EspalierError
from espalier.jsonfile import write_json

from . import methods
from .base import METHODS
from .figure import write_figure
from .results import Job, stored
from .runner import run
from .summary import as_data, as_text, tables
from .tasks import TASKS, task_named

RESULTS = Path("bench-results/quality")
KNOWN = methods.__all__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = _parser().parse_args(arguments)
    try:
        if options.what == "run":
            _run(options)
        _summarise(options.out)
    except EspalierError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("run", "summary"), default="run")
    parser.add_argument("--methods", nargs="+", default=list(METHODS.names()), help=", ".join(METHODS.names()))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--budget", type=float, default=300.0, help="CPU seconds for each method")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--data", type=Path, help="folder with CIFAR-10 and the trained weights")
    return parser


def _run(options: argparse.Namespace) -> None:
    if os.environ.get("OMP_NUM_THREADS") != "1":
        print("OMP_NUM_THREADS is not 1: other threads' CPU time would count too", file=sys.stderr)
    for name in options.methods:
        METHODS.get(name)
    for reference in options.tasks:
        # Seeds outermost, so that a run that is stopped leaves whole comparisons.
        jobs = [Job(options.out, reference, m, s, options.budget) for s in options.seeds for m in options.methods]
        missing = [job for job in jobs if not job.done]
        if not missing:
            continue
        task = task_named(reference, options.data)
        for job in missing:
            print(f"{job.task}: {job.method}, seed {job.seed}, {job.budget:g} CPU seconds", file=sys.stderr)
            result = run(job, task)
            print(f"  hypervolume {result['hypervolume']:.4f}", file=sys.stderr)


def _summarise(folder: Path) -> None:
    results = list(stored(folder))
    found = tables(results)
    for table in found:
        print(f"{as_text(table)}\n")
    if results:
        write_json(folder / "summary.json", as_data(found))
        write_figure(results, folder / "fronts.html")
