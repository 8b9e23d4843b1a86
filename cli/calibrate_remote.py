"""The part of ``espalier calibrate`` that is about devices elsewhere: kits, results and SSH."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, describe
from .output import note, print_json, refuse_existing, show_table, writing

if TYPE_CHECKING:
    from ..evaluators.hardware.remote.importing import Imported
    from ..evaluators.hardware.remote.kit import Kit
    from ..evaluators.task.task import Task


def pack(
    reference: str | None,
    kit: Path,
    *,
    data: Path | None,
    networks: int,
    threads: int,
    precisions: Sequence[str],
    as_json: bool,
) -> None:
    """Write a kit for a task's network."""
    from ..evaluators.hardware.remote.kit import pack_kit
    from ..evaluators.task.trust import remember

    task = _task(reference, data)
    packed = pack_kit(
        task.model(),
        task.example_input,
        kit,
        subject=str(reference),
        networks=networks,
        threads=threads,
        precisions=precisions,
        freeze=task.freeze,
        progress=lambda done, total: note(f"Packed {done} of {total} networks") if done in (1, total) else None,
    )
    remember(packed.identity, packed.subject)
    _say_packed(packed, kit, threads, "--out device.yaml", as_json=as_json)


def _say_packed(packed: Kit, kit: Path, threads: int, then: str, *, as_json: bool) -> None:
    if as_json:
        counts = {"networks": len(packed.networks), "size_bytes": packed.size_bytes}
        print_json({"kit": str(kit), "identity": packed.identity, **counts})
        return
    print(f"Written to {kit}: {len(packed.networks)} networks, {packed.size_bytes / 1e6:.1f} MB. On the device:")
    print("  python -m pip install numpy onnxruntime")
    print(f"  python agent.py . --threads {threads}        (in the kit's folder)")
    print(f"Back here: espalier calibrate --import results.json --kit {shlex.quote(str(kit))} {then}")


def import_(
    reference: str | None,
    results: Path,
    kit: Path | None,
    out: Path,
    *,
    data: Path | None,
    trust: bool,
    as_json: bool,
) -> None:
    """Read what an agent brought back, and write the device that it tells of.

    The kit names a task, too; it is asked only for Espalier's own, or where it is trusted.
    """
    from ..evaluators.hardware.remote.importing import import_results
    from ..evaluators.hardware.remote.kit import read_kit

    refuse_existing(out)
    refuse_existing(out.with_suffix(".csv"))
    packed = read_kit(kit or results.parent)
    task = _task(reference or _subject(packed, trust=trust), data)
    imported = import_results(results, packed.path, task.model(), task.example_input, name=out.stem, freeze=task.freeze)
    _save(imported, out, as_json=as_json)


def pack_run(
    folder: Path, kit: Path, *, task: str | None, data: Path | None, threads: int, trust: bool, as_json: bool
) -> None:
    """Write a kit of a run's front."""
    from ..reports.on_device import pack_front
    from ..search.run_folder import open_run

    found = None if task is None else _task(task, data)
    packed = pack_front(open_run(folder), kit, task=found, data=data, threads=threads, trust=trust)
    _say_packed(packed, kit, threads, f"--run {shlex.quote(str(folder))}", as_json=as_json)


def import_into_run(folder: Path, results: Path, kit: Path | None, *, as_json: bool) -> None:
    """Keep what a device took for a run's front in the run's folder, and show it beside what the run claims."""
    from ..reports.on_device import import_timings
    from ..reports.sections.on_device import on_device
    from ..search.run_folder import open_run

    run = open_run(folder)
    with writing(folder):
        import_timings(run, results, kit or results.parent)
    found = on_device(run)[-1]
    if as_json:
        print_json(found)
        return
    rows = [tuple(row[key] for key in ("name", "claimed", "interval", "measured", "within")) for row in found["rows"]]
    show_table(("network", "claimed", "interval", "measured", "within"), rows, title=f"Latencies on {found['device']}")
    print(f"{found['inside']} of {found['count']} within the claimed interval; rank correlation {found['rank']}.")
    print(f"Next: {shlex.join(['espalier', 'report', str(folder)])}")


def over_ssh(
    reference: str | None,
    target: str,
    out: Path,
    *,
    options: Sequence[str],
    python: str,
    data: Path | None,
    networks: int,
    threads: int,
    precisions: Sequence[str],
    as_json: bool,
) -> None:
    """Calibrate a device that SSH reaches."""
    from ..evaluators.hardware.remote.over_ssh import calibrate_over_ssh
    from ..evaluators.hardware.remote.ssh import SshHost

    refuse_existing(out)
    refuse_existing(out.with_suffix(".csv"))
    host = SshHost(target, tuple(options), python)
    task = _task(reference, data)
    imported = calibrate_over_ssh(
        host,
        task.model(),
        task.example_input,
        name=out.stem,
        subject=str(reference),
        networks=networks,
        threads=threads,
        precisions=precisions,
        freeze=task.freeze,
        progress=note,
    )
    _save(imported, out, as_json=as_json)


def _subject(kit: Kit, *, trust: bool) -> str:
    from ..evaluators.task.trust import refuse_untrusted

    if not trust:
        remedy = "Name it: espalier calibrate TASK --import ..., or give --trust."
        refuse_untrusted(kit.subject, kit.path, run=kit.identity, remedy=remedy)
    return kit.subject


def _task(reference: str | None, data: Path | None) -> Task:
    from ..evaluators.task.task_loading import load_task

    if reference is None:
        remedy = "Name it: espalier calibrate TASK ..."
        raise InputError(describe("no task", expected="the task whose network is timed", remedy=remedy))
    return load_task(reference, data=data)


def _save(imported: Imported, out: Path, *, as_json: bool) -> None:
    with writing(out):
        imported.device.save(out)
    for text in imported.notes:
        note(f"Note: {text}")
    if as_json:
        device = imported.device.model_dump(mode="json")
        print_json({"file": str(out), "device": device, "notes": list(imported.notes)})
        return
    from .tables import show_fit

    show_fit(imported.device)
    print(f"Written to {out}. Use it: espalier search TASK --device {out} --out RUN")
