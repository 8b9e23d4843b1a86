"""``espalier report``: a run as one HTML file, with its front and trials beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import JsonOption, RunArgument
from .output import print_json


def report(
    run: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The HTML file. Default: report.html in RUN.", show_default=False),
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a run's report: one self-contained HTML file, plus front.json and trials.csv in the run's folder."""
    from ..reports.baseline_comparison import write_baselines_json
    from ..reports.front_json import write_front_json
    from ..reports.html_report import render_report
    from ..reports.trials_csv import write_trials_csv
    from ..search.run_folder import open_run
    from .output import writing

    opened = open_run(run)
    with writing(out or run):
        written = {
            "report": render_report(opened, out or run / "report.html"),
            "front": write_front_json(opened),
            "trials": write_trials_csv(opened),
            "baselines": write_baselines_json(opened),
        }
    written = {name: path for name, path in written.items() if path is not None}
    if as_json:
        print_json({name: str(path) for name, path in written.items()})
    else:
        for name, path in written.items():
            print(f"{name:<9} {path}")
    if open_it:
        typer.launch(str(written["report"].resolve()))
