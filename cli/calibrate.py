"""``espalier calibrate``: measure this machine, or another device, and fit its cost model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError, describe
from .calibrate_remote import import_, over_ssh, pack
from .options import DataOption, JsonOption
from .output import note, print_json, refuse_existing, writing


def calibrate(
    task: Annotated[
        str | None,
        typer.Argument(
            metavar="[TASK]",
            help="Whose network other devices are calibrated for, as in search. --import finds it in the kit.",
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
        str, typer.Option("--precision", help="What another device is timed at, of fp32 and int8, by commas.")
    ] = "fp32",
    data: DataOption = None,
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
    if ssh is not None:
        over_ssh(task, ssh, out, options=ssh_option or (), python=ssh_python, as_json=as_json, **packing)
    elif results is not None:
        import_(task, results, kit, out, data=data, as_json=as_json)
    elif kit is not None:
        pack(task, kit, as_json=as_json, **packing)
    else:
        _this_machine(out, runtime=runtime, threads=threads, minutes=minutes, as_json=as_json)


def _this_machine(out: Path, *, runtime: str, threads: int, minutes: float, as_json: bool) -> None:
    from ..evaluators.hardware.calibrate import calibrate as fit
    from .tables import show_fit

    refuse_existing(out)
    note(f"Measuring for about {minutes:g} min ...")
    device = fit(runtime=runtime, threads=threads, seconds=60 * minutes)
    with writing(out):
        out.write_text(device.to_yaml(), encoding="utf-8")
    if as_json:
        print_json({"file": str(out), "device": device.model_dump(mode="json")})
        return
    show_fit(device)
    print(f"Written to {out}. Use it: espalier search TASK --device {out} --out RUN")
