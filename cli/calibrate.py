"""``espalier calibrate``: measure this machine and fit its cost model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import JsonOption
from .output import note, print_json, refuse_existing, show_table, writing


def calibrate(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The device file to write; it must not exist yet.")
    ] = Path("machine.yaml"),
    runtime: Annotated[str, typer.Option("--runtime", help="What runs the networks.")] = "onnxruntime",
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads of the runtime.")] = 1,
    minutes: Annotated[float, typer.Option("--minutes", min=0.05, help="How long to measure.")] = 1.0,
    as_json: JsonOption = False,
) -> None:
    """Measure this machine, fit its cost model and print the error on measurements held out from the fit."""
    from ..evaluators.hardware.calibrate import calibrate as fit

    refuse_existing(out)
    note(f"Measuring for about {minutes:g} min ...")
    device = fit(runtime=runtime, threads=threads, seconds=60 * minutes)
    with writing(out):
        out.write_text(device.to_yaml(), encoding="utf-8")
    if as_json:
        print_json({"file": str(out), "device": device.model_dump(mode="json")})
        return
    rows = [
        (
            precision,
            f"{100 * error.median_relative_error:.1f} %",
            f"{100 * error.share_within_10_percent:.0f} %",
            f"{error.spearman:.3f}",
            str(error.fitted),
            str(error.held_out),
        )
        for precision, error in device.fit.items()
    ]
    columns = ("precision", "median error", "within 10 %", "Spearman", "fitted to", "held out")
    show_table(columns, rows, title="Error on networks held out from the fit")
    print(f"Written to {out}. Use it: espalier search TASK --device {out} --out RUN")
