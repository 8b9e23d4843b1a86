"""``espalier pick``: the configuration that answers a wish, or the nearest one."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import ConstraintOption, JsonOption, RunArgument
from .output import print_json


def pick(
    run: RunArgument,
    max_drop: Annotated[
        str | None,
        typer.Option(
            "--max-drop",
            metavar="SHARE",
            help="By how much the score may be worse than dense: 1% or 0.01 is one point of accuracy; of an error, 5% "
            "is that share of it, and 2.5 is in its unit.",
            show_default=False,
        ),
    ] = None,
    constraint: ConstraintOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the fastest configuration that meets the wishes; exit with 1 and name the nearest one where none does."""
    from ..evaluators.objectives import Constraint
    from ..reports.picks import answer
    from ..search.run_folder import open_run

    constraints = tuple(Constraint.parse(text) for text in constraint or ())
    found = answer(open_run(run), max_drop=max_drop, constraints=constraints)
    if as_json:
        print_json(found.to_dict())
    else:
        print(found)
        if found.configuration is not None:
            print(f"Export it: espalier export {run} --pick {found.configuration.trial} --out DIR")
    if not found.answered:
        raise typer.Exit(1)
