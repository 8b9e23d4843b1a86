"""``espalier search``: the main job."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from .options import ConstraintOption, DataOption, JsonOption
from .output import note, print_json


def search(
    task: Annotated[
        str | None,
        typer.Argument(
            metavar="TASK",
            help="What to prune: digits, cifar10-resnet8, cifar10-resnet20, cifar10-vit, cifar10-vgg, "
            "path/to/file.py:name or package.module:name. May stand in --config instead.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="NAME|FILE",
            help="A device's name, or its YAML file. Default: host.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="RUN", help="The run's folder; it must not exist yet.", show_default=False),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials", help="Configurations to evaluate, a resumed run's included. Default: 50.", show_default=False
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="TIME",
            help="How long to search: 90s, 30m, 1h30m. Default: no limit.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Processes that evaluate. Default: 1.", show_default=False)
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", help="Threads of each worker. Default: cores / workers.", show_default=False),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            metavar="URL",
            help="A database for the Optuna study. Default: a journal in the run's folder.",
            show_default=False,
        ),
    ] = None,
    objectives: Annotated[
        str | None,
        typer.Option(
            "--objectives",
            metavar="NAMES",
            help="What to trade off: accuracy (the task's metric, whatever it is), latency, size, macs, params, "
            "memory, energy. Default: accuracy,latency,size.",
            show_default=False,
        ),
    ] = None,
    constraint: ConstraintOption = None,
    types: Annotated[
        str | None,
        typer.Option(
            "--types",
            metavar="NAMES",
            help="Pruning types: channel, block, nm, weight, none. Default: channel,block.",
            show_default=False,
        ),
    ] = None,
    criteria: Annotated[
        str | None,
        typer.Option(
            "--criteria",
            metavar="NAMES",
            help="How channels are ranked: l1, l2, bn_scale, fpgm, lamp, taylor, hessian, activation, random. "
            "Default: l2.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            metavar="NAMES",
            help="fp32, int8 or fp32,int8: what candidates run at; int8 is quantised after training. Default: fp32.",
            show_default=False,
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option("--sampler", metavar="NAME", help="tpe, nsga2 or random. Default: tpe.", show_default=False),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of everything drawn. Default: 0.", show_default=False)
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            help="Training samples that each candidate is fine-tuned on. Default: what suits the task.",
            show_default=False,
        ),
    ] = None,
    start: Annotated[
        list[Path] | None,
        typer.Option(
            "--start",
            metavar="FILE",
            help="A policy to try first, such as another run's policies/N.json. May be given several times.",
            show_default=False,
        ),
    ] = None,
    calibrate: Annotated[
        bool | None,
        typer.Option(
            "--calibrate/--no-calibrate",
            help="Calibrate this machine for the network first, to turn down what is predicted to break "
            "a constraint before it is trained. Default: on host, from 40 trials on.",
            show_default=False,
        ),
    ] = None,
    inherit: Annotated[
        bool | None,
        typer.Option(
            "--inherit/--no-inherit",
            help="Start candidates from the weights of larger ones trained before them, along a path of shrinking "
            "networks first. Default: --inherit.",
            show_default=False,
        ),
    ] = None,
    baselines: Annotated[
        bool | None,
        typer.Option(
            "--baselines/--no-baselines",
            help="Also run uniform pruning afterwards, each level from the dense network and each from the one before, "
            "at the budget that the search used, and show it beside the front. Default: --no-baselines.",
            show_default=False,
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            "--patience",
            metavar="N",
            help="Try no more once so many candidates in a row have not enlarged the front. Default: any number.",
            show_default=False,
        ),
    ] = None,
    export_check: Annotated[
        bool | None,
        typer.Option(
            "--export-check/--no-export-check",
            help="Try the export on the network and on validation data first, and refuse what cannot be exported. "
            "Default: --export-check.",
            show_default=False,
        ),
    ] = None,
    ladder: Annotated[
        bool | None,
        typer.Option(
            "--ladder/--no-ladder",
            help="Begin candidates off the path without training of their own, and train only the best of comparable "
            "cost further. Default: --ladder, unless --samples or --no-inherit is given.",
            show_default=False,
        ),
    ] = None,
    data: DataOption = None,
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
) -> None:
    """Search what to prune from a trained network so that it fits a device."""
    given = {
        "task": task, "device": device, "out": out, "trials": trials, "budget": budget, "workers": workers,
        "threads": threads, "storage": storage, "objectives": objectives, "constraints": constraint or None,
        "types": types, "criteria": criteria, "precision": precision, "sampler": sampler, "seed": seed,
        "samples": samples, "start": start or None, "data": data, "calibrate": calibrate,
        "inherit": inherit, "ladder": ladder, "baselines": baselines, "patience": patience,
        "export_check": export_check,
    }  # fmt: skip
    options = merged({name: value for name, value in given.items() if value is not None}, config, resume=resume)
    show = _dry_run if dry_run else _run
    show(options, resume=resume, as_json=as_json)


def merged(given: Mapping[str, Any], config: Path | None, *, resume: bool) -> dict[str, Any]:
    """Return the options of a search: those given, else those of the config, else, on a resume, the run's own."""
    from ..evaluators.trust import refuse_untrusted
    from ..search.new_folder import has_run
    from ..search.options import read_config
    from ..search.run_folder import open_run

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
