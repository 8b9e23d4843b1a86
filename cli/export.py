"""``espalier export``: a configuration of a run as a folder that can be handed over."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import ConstraintOption, DataOption, JsonOption, RunArgument, TaskOption, TrustOption
from .output import print_json


def export(
    run: RunArgument,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write; absent or empty.")],
    pick: Annotated[
        str, typer.Option("--pick", metavar="PICK", help="knee, fastest, smallest, most-accurate or a trial's number.")
    ] = "knee",
    constraint: ConstraintOption = None,
    formats: Annotated[
        str, typer.Option("--formats", help="What to write, separated by commas; safetensors is always written.")
    ] = "onnx,pt2,safetensors",
    fine_tune: Annotated[
        int, typer.Option("--fine-tune", metavar="EPOCHS", min=0, help="Epochs to fine-tune the network further.")
    ] = 0,
    task: TaskOption = None,
    data: DataOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Export a configuration: ONNX, torch.export, weights, policy, manifest and model card in one folder.

    Of a run that was not searched here the task must be named, as the run's folder may name anybody's code.
    """
    from ..evaluators.objectives import Constraint
    from ..evaluators.task.task_loading import load_task
    from ..reports.export import export as write_export
    from ..reports.manifest import Manifest
    from ..reports.sections.reproduce import verify_command
    from ..search.run_folder import open_run
    from .tables import show_export

    folder = write_export(
        open_run(run),
        pick,
        out,
        constraints=tuple(Constraint.parse(text) for text in constraint or ()),
        formats=tuple(name.strip() for name in formats.split(",") if name.strip()),
        fine_tune_epochs=fine_tune,
        task=None if task is None else load_task(task, data=data),
        data=data,
        trust=trust,
    )
    manifest = Manifest.read(folder)
    if as_json:
        print_json({"folder": str(folder), **manifest.to_dict()})
        return
    show_export(manifest)
    print(f"Written to {folder}. Check it: {verify_command(folder, manifest.task_reference)}")
