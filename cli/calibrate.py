"""``espalier calibrate``: measure this machine, or another device, and fit its cost model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError, describe
from .calibrate_remote import import_, import_into_run, over_ssh, pack, pack_run
from .options import DataOption, JsonOption, TrustOption
from .output import note, print_json, refuse_existing, writing


def calibrate(
    task: Annotated[
        str | None,
        typer.Argument(
            metavar="[TASK]",
            help="Whose network to calibrate for, as in search. Without one this machine is calibrated for networks in "
            "general; --import finds it in the kit.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The device file to write; it must not exist yet.")
    ] = Path("machine.yaml"),
    runtime: Annotated[str, typer.Option("--runtime", help="What runs the networks.")] = "onnxruntime",
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads of the runtime.")] = 1,
    minutes: Annotated[float, typer.Option("--minutes", min=0.05, help="How long to measure this machine.")] = 1.0,
    kit: Annotated[
        Path | None,
        typer.Option(
            "--kit",
            metavar="DIR|FILE.zip",
            help="Pack networks of TASK and the agent that times them on a device; with --import, the kit it ran.",
            show_default=False,
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--import", metavar="RESULTS", help="Read in what the agent wrote on the device.", show_default=False
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="RUN",
            help="With --kit, pack the front of this run instead; with --import, keep its latencies in the run's "
            "folder, for the report.",
            show_default=False,
        ),
    ] = None,
    ssh: Annotated[
        str | None,
        typer.Option(
            "--ssh", metavar="USER@HOST", help="Pack, run and read in over SSH, in one step.", show_default=False
        ),
    ] = None,
    ssh_option: Annotated[
        list[str] | None,
        typer.Option(
            "--ssh-option",
            metavar="NAME=VALUE",
            help="For ssh -o, such as Port=2222. May be given several times.",
            show_default=False,
        ),
    ] = None,
    ssh_python: Annotated[
        str, typer.Option("--ssh-python", metavar="PROGRAM", help="The Python there that has ONNX Runtime.")
    ] = "python3",
    networks: Annotated[
        int, typer.Option("--networks", min=9, help="How many networks to time on another device, per precision.")
    ] = 31,
    precision: Annotated[
        str, typer.Option("--precision", help="What networks are timed at, of fp32 and int8, by commas.")
    ] = "fp32",
    data: DataOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure this machine, or another device, and fit its cost model; print the error on what was held out.

    Another device is reached with --ssh, or by a kit: --kit packs it, the device's owner runs it there, --import reads
    the results.
    """
    packing = {"data": data, "networks": networks, "threads": threads, "precisions": precision.split(",")}
    if ssh is not None and (kit is not None or results is not None):
        got = "--ssh beside --kit or --import"
        raise InputError(describe(got, expected="one of them", remedy="--ssh does what the others do, in one step."))
    if run is not None:
        _of_run(run, kit, results, ssh, task=task, data=data, threads=threads, trust=trust, as_json=as_json)
    elif ssh is not None:
        over_ssh(task, ssh, out, options=ssh_option or (), python=ssh_python, as_json=as_json, **packing)
    elif results is not None:
        import_(task, results, kit, out, data=data, trust=trust, as_json=as_json)
    elif kit is not None:
        pack(task, kit, as_json=as_json, **packing)
    else:
        how = {"runtime": runtime, "threads": threads, "seconds": 60 * minutes, "precisions": precision.split(",")}
        _this_machine(task, out, data=data, as_json=as_json, **how)


def _of_run(
    run: Path,
    kit: Path | None,
    results: Path | None,
    ssh: str | None,
    *,
    task: str | None,
    data: Path | None,
    threads: int,
    trust: bool,
    as_json: bool,
) -> None:
    if ssh is not None or (kit is None and results is None):
        got = f"--run {run} {'with --ssh' if ssh is not None else 'alone'}"
        raise InputError(describe(got, expected="--kit or --import beside it", remedy="Pack the front: --kit KIT."))
    if results is not None:
        import_into_run(run, results, kit, as_json=as_json)
    elif kit is not None:
        pack_run(run, kit, task=task, data=data, threads=threads, trust=trust, as_json=as_json)


def _this_machine(task: str | None, out: Path, *, data: Path | None, as_json: bool, **how: Any) -> None:
    from ..evaluators.hardware.calibrate import calibrate as fit
    from .tables import show_fit

    refuse_existing(out)
    refuse_existing(out.with_suffix(".csv"))
    note(f"Measuring for about {how['seconds'] / 60:g} min ...")
    device = fit(**_network(task, data), **how, progress=note)
    with writing(out):
        device.save(out)
    if as_json:
        print_json({"file": str(out), "device": device.model_dump(mode="json")})
        return
    show_fit(device)
    print(f"Written to {out}. Use it: espalier search TASK --device {out} --out RUN")


def _network(task: str | None, data: Path | None) -> dict[str, Any]:
    """Return the task's network, its input and its trace as the arguments that say what to calibrate for."""
    if task is None:
        return {}
    from ..evaluators.task.task_loading import load_task
    from ..spaces.graph.trace import trace

    found = load_task(task, data=data)
    model = found.model().eval()
    graph = trace(model, found.example_input, freeze=found.freeze)
    return {"model": model, "example_input": found.example_input, "graph": graph}
