"""``espalier verify``: checks an export against its claims."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import DataOption, JsonOption
from .output import print_json, show_table


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that espalier export wrote.")],
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="TASK",
            help="The task, where it has another place than when it was exported.",
            show_default=False,
        ),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load an export afresh and check files, parity, score, latency and size; exit with 1 where a check fails."""
    from ..evaluators.task_loading import load_task
    from ..reports.verify import verify as check
    from .tables import VERIFICATION_COLUMNS, verification_rows

    found = check(folder, task=None if task is None else load_task(task, data=data), data=data)
    if as_json:
        print_json(found.to_dict())
    else:
        show_table(VERIFICATION_COLUMNS, verification_rows(found))
        failed = [c.name for c in found.checks if not c.passed]
        print(f"FAILED: {', '.join(failed)}" if failed else f"Verified: all {len(found.checks)} checks passed.")
    if not found.passed:
        raise typer.Exit(1)
