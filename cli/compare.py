"""``espalier compare``: fronts of several runs against one reference point."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import JsonOption
from .output import print_json, show_table, writing


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Two or more folders that searches wrote.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Also write the fronts, overlaid, as HTML.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare runs: hypervolume against one reference point and what each reaches, the fronts overlaid."""
    from ..reports.comparison import compare as compare_runs
    from ..search.run_folder import open_run

    found = compare_runs([open_run(run) for run in runs])
    if out is not None:
        with writing(out):
            found.write_html(out)
    if as_json:
        print_json(found.to_dict() | ({} if out is None else {"report": str(out)}))
        return
    show_table(found.header(), found.rows(), title=f"{found.task}: hypervolumes against one reference point")
    for text in found.notes:
        print(f"Note: {text}")
    for text in () if found.devices is None else found.devices.sentences():
        print(text)
    if out is not None:
        print(f"Written to {out}.")
