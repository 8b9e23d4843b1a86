"""``espalier search``: the main job."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ..search.options import SearchOptions
from .options import JsonOption
from .output import note, print_json
from .search_options import takes_options


@takes_options(SearchOptions)
def search(
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="RUN", help="The run's folder; it must not exist yet.", show_default=False),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="FILE", help="The same options in YAML; options given here win.", show_default=False
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out; options not given are the run's own.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the groups, the size of the space and the estimated time.")
    ] = False,
    as_json: JsonOption = False,
    **given: Any,
) -> None:
    """Search what to prune from a trained network so that it fits a device."""
    said = {name: value for name, value in {**given, "out": out}.items() if value not in (None, [])}
    options = merged(said, config, resume=resume)
    show = _dry_run if dry_run else _run
    show(options, resume=resume, as_json=as_json)


def merged(given: Mapping[str, Any], config: Path | None, *, resume: bool) -> dict[str, Any]:
    """Return the options of a search: those given, else those of the config, else, on a resume, the run's own."""
    from ..evaluators.task.trust import refuse_untrusted
    from ..search.options import read_config
    from ..search.run_folder import open_run
    from ..search.run_folder.new_folder import has_run

    options = {**(read_config(config) if config is not None else {}), **given}
    if resume and options.get("out") is not None and has_run(Path(options["out"])):
        run = open_run(options["out"])
        stored = run.info.options.to_dict()
        if "task" not in options:
            remedy = f"Name it: espalier search TASK --out {options['out']} --resume."
            refuse_untrusted(stored["task"], run.path, run=run.info.study_name, remedy=remedy)
        options = {**stored, **options}
    return options


def _run(options: dict[str, Any], *, resume: bool, as_json: bool) -> None:
    from ..errors import Interrupted
    from ..reports.baseline_comparison import compare_baselines
    from ..search.progress import progress_for
    from ..search.run_search import run_search
    from .tables import show_front

    task, out = _needed(options, "task", "TASK"), Path(_needed(options, "out", "--out RUN"))
    rest = {name: value for name, value in options.items() if name not in ("task", "out")}
    try:
        run = run_search(task, out=out, resume=resume, progress=progress_for(), **rest)
    except (KeyboardInterrupt, Interrupted):
        note(_interrupted(task, out))
        raise typer.Exit(130) from None
    if as_json:
        print_json(run.front_document())
        return
    show_front(run)
    if (compared := compare_baselines(run)) is not None:
        print(compared.verdict)
    print(f"Next: {shlex.join(['espalier', 'report', str(out)])}")


def _interrupted(task: str, out: Path) -> str:
    if not (out / "run.json").exists():
        return "Interrupted before the first trial: there is no run to keep."
    command = shlex.join(["espalier", "search", task, "--out", str(out), "--resume"])
    return f"Interrupted: the run is kept in {out}. Resume it with: {command}"


def _dry_run(options: dict[str, Any], *, resume: bool, as_json: bool) -> None:
    from ..search.dry_run import dry_run
    from .tables import show_dry_run

    task = _needed(options, "task", "TASK")
    rest = {name: value for name, value in options.items() if name not in ("task", "out")}
    found = dry_run(task, **rest)
    print_json(found.to_dict()) if as_json else show_dry_run(found)


def _needed(options: Mapping[str, Any], name: str, written: str) -> Any:
    from ..errors import InputError, describe

    if options.get(name) is None:
        raise InputError(describe(f"no {name}", expected=written, remedy=f"Give it, or '{name}:' in --config."))
    return options[name]
