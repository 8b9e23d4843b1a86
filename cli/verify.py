"""``espalier verify``: checks an export against its claims."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import DataOption, JsonOption, TrustOption
from .output import print_json, show_table

if TYPE_CHECKING:
    from ..reports.verify import Verification


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that espalier export wrote.")],
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="TASK",
            help="The task whose network was pruned. What needs a task is not checked without it.",
            show_default=False,
        ),
    ] = None,
    data: DataOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Load an export afresh and check files, parity, score, latency and size; exit with 1 where a check fails.

    Nothing of the folder is executed without --trust; the tasks that come with Espalier need neither that nor --task.
    """
    from ..evaluators.task.task_loading import load_task
    from ..reports.verify import verify as check
    from .tables import VERIFICATION_COLUMNS, verification_rows

    found = check(folder, task=None if task is None else load_task(task, data=data), data=data, trust=trust)
    if as_json:
        print_json(found.to_dict())
    else:
        show_table(VERIFICATION_COLUMNS, verification_rows(found))
        failed = [c.name for c in found.checks if not c.passed]
        for text in found.not_checked:
            print(f"Not checked: {text}")
        if found.unchecked:
            print(f"Not checked: {', '.join(found.unchecked)}, as the device is not here.")
        print(f"FAILED: {', '.join(failed)}" if failed else _passed(found))
    if not found.passed:
        raise typer.Exit(1)


def _passed(found: Verification) -> str:
    count = len(found.checks) - len(found.unchecked)
    if found.not_checked or found.unchecked:
        return f"All {count} checks passed; see above what was not checked."
    return f"Verified: all {count} checks passed."
