"""``espalier demo``: the whole path on data that comes with scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import JsonOption
from .output import note, print_json, show_table

TRIALS = 30


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write; absent or empty.")] = Path(
        "demo-run"
    ),
    as_json: JsonOption = False,
) -> None:
    """Digits end to end: train a small network, search, report, export and verify, in about two minutes."""
    from ..reports.export import export
    from ..reports.html_report import render_report
    from ..reports.trials_csv import write_trials_csv
    from ..reports.verify import verify
    from ..search.options import available_cores
    from ..search.progress import progress_for
    from ..search.run_search import run_search
    from .tables import VERIFICATION_COLUMNS, show_front, verification_rows

    check_free(out)
    run_folder, export_folder = out / "run", out / "export"
    workers = min(2, available_cores())
    note(f"1. Search: digits on this machine, {TRIALS} trials, {workers} workers (the network is trained once) ...")
    run = run_search("digits", device="host", out=run_folder, trials=TRIALS, workers=workers, progress=progress_for())
    note("2. Report ...")
    report = render_report(run, run_folder / "report.html")
    write_trials_csv(run)
    note("3. Export of the knee ...")
    export(run, "knee", export_folder)
    note("4. Verification of the export ...")
    found = verify(export_folder)
    places = {
        "run": run_folder,
        "front": run_folder / "front.json",
        "trials": run_folder / "trials.csv",
        "report": report,
        "export": export_folder,
        "model card": export_folder / "README.md",
    }
    if as_json:
        print_json({**{name: str(path) for name, path in places.items()}, "verification": found.to_dict()})
    else:
        show_front(run)
        show_table(VERIFICATION_COLUMNS, verification_rows(found), title="Verification of the export")
        for name, path in places.items():
            print(f"{name:<11}{path}")
        print(f"\nVerified. Open {report} in a browser." if found.passed else "\nThe verification FAILED.")
    if not found.passed:
        raise typer.Exit(1)


def check_free(out: Path) -> None:
    """Refuse a folder that holds something, saying what it holds and how to go on.

    Raises:
        InputError: ``out`` is not absent or empty.
    """
    from ..errors import InputError, describe

    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if (out / "export" / "manifest.json").exists():
        got = f"{out} holds a finished demo (its report: {out / 'run' / 'report.html'})"
        remedy = f"Remove it (rm -r {out}) or choose another --out."
    elif (out / "run" / "run.json").exists():
        got = f"{out} holds a demo that was not finished"
        search = f"espalier search digits --out {out / 'run'} --resume"
        remedy = f"Go on with its search ({search}), or remove it (rm -r {out})."
    else:
        got, remedy = f"{out} exists already", "Choose another --out."
    raise InputError(describe(got, expected="an absent or empty folder", remedy=remedy))
