"""``espalier inspect``: what can be pruned from a task's network, what it costs and what can be reached at most."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import DataOption, DeviceOption, JsonOption, TaskArgument
from .output import note, print_json


def inspect(
    task: TaskArgument,
    device: DeviceOption = "host",
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads of the runtime.")] = 1,
    sensitivity: Annotated[
        bool,
        typer.Option("--sensitivity", help="Also prune each group alone by half and show the score left."),
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what can be pruned and what not, why, and what that reaches at most; exit with 1 where nothing can be.

    Groups with what each brings alone, frozen groups with reasons, layers never used, costs by layer.
    """
    from ..evaluators.hardware import load_device
    from ..evaluators.task.task_checks import check_task
    from ..evaluators.task.task_loading import load_task
    from ..reports.inspection import inspect_task
    from .tables import show_inspection

    target = load_device(device)
    loaded = load_task(task, data=data)
    for text in check_task(loaded):
        note(f"note: {text}")
    found = inspect_task(loaded, target, threads=threads, with_sensitivity=sensitivity)
    if as_json:
        print_json(found.to_dict())
    else:
        show_inspection(found)
    if not found.diagnosis.prunable:
        raise typer.Exit(1)
