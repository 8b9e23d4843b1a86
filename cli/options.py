"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TaskArgument = Annotated[
    str,
    typer.Argument(
        metavar="TASK",
        help="What to prune: digits, cifar10-resnet8, cifar10-resnet20, cifar10-vit, cifar10-vgg, "
        "path/to/file.py:name or package.module:name.",
    ),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The folder that a search wrote.")]
DeviceOption = Annotated[str, typer.Option("--device", metavar="NAME|FILE", help="A device's name, or its YAML file.")]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="FOLDER", help="Where the task's data lies.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output and nothing else.")]
ConstraintOption = Annotated[
    list[str] | None,
    typer.Option(
        "--constraint",
        metavar="METRIC<=NUMBER",
        help="A bound to keep, such as 'latency_ms<=5' or 'size_bytes<=100KB'. May be given several times.",
        show_default=False,
    ),
]
TaskOption = Annotated[
    str | None,
    typer.Option(
        "--task", metavar="TASK", help="The task, where the folder is not to be asked for it.", show_default=False
    ),
]
TrustOption = Annotated[
    bool,
    typer.Option("--trust", help="Execute what the folder names: import its task, unpickle what it holds pickled."),
]
