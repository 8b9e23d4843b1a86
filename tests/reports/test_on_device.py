"""A run's front, packed, timed by the agent in a process of its own, and shown beside what the run claims."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from espalier.errors import InputError, RunFolderError
from espalier.reports.html_report import report_html
from espalier.reports.on_device import REMOTE, DeviceTimings, Timing, import_timings, pack_front, read_timings
from espalier.reports.sections.on_device import on_device
from espalier.search.run_folder import open_run
from espalier.search.run_search import run_search


@pytest.fixture(scope="module")
def timed(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A copy of the run, and the kit of its front, a folder with the agent's results."""
    folder = tmp_path_factory.mktemp("timed")
    shutil.copytree(tiny_run, folder / "run")
    pack_front(open_run(folder / "run"), folder / "kit")
    done = subprocess.run(
        [sys.executable, "agent.py", "."], cwd=folder / "kit", capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return folder / "run", folder / "kit"


def test_a_front_is_timed_and_told_beside_its_claims(timed: tuple[Path, Path]) -> None:
    run, kit = open_run(timed[0]), timed[1]
    assert read_timings(run) == ()
    found = import_timings(run, kit / "results.json", kit)
    trials = [None, *(c.trial for c in run.front.configurations)]
    assert [n.trial for n in found.networks] == trials
    assert all(n.latency_ms > 0 for n in found.networks)
    assert read_timings(run) == (found,)
    assert import_timings(run, kit / "results.json", kit) == found  # in place of itself
    assert len(read_timings(run)) == 1
    (told,) = on_device(run)
    assert [row["name"] for row in told["rows"]] == ["Dense", *(f"Trial {t}" for t in trials[1:])]
    html = report_html(run)
    assert f"Predicted against measured on {found.device}" in html
    assert f"of {len(trials)} (" in html


def test_whether_a_measurement_lies_within_its_claim_by_hand(known_run: Any, tmp_path: Path) -> None:
    shutil.copytree(known_run.path, tmp_path / "run")
    run = open_run(tmp_path / "run")
    # Final latencies are 0.41 (dense), 0.31 (1), 0.205 (2) and 0.11 ms (3), all to 2 %.
    times = {None: 0.418, 1: 0.303, 2: 0.2095, 3: 0.111}
    networks = tuple(Timing(trial, "fp32", ms, 0.01, trial != 2) for trial, ms in times.items())
    timings = DeviceTimings("a board", {"onnxruntime": "1.19.2"}, 2, "k" * 64, networks, {"trial8-fp32.onnx": "no"})
    devices = [{**vars(timings), "networks": [dataclasses.asdict(n) for n in networks]}]
    (run.path / REMOTE).write_text(json.dumps({"version": 1, "devices": devices}))
    (told,) = on_device(run)
    assert [row["within"] for row in told["rows"]] == ["yes", "no", "no", "yes"]
    assert (told["inside"], told["count"], told["rank"]) == (2, 4, "1.00")
    assert (told["unsteady"], told["failed"], told["threads"]) == (1, 1, "2 threads")


def test_another_runs_kit_is_refused(timed: tuple[Path, Path], known_run: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="which is none of"):
        import_timings(known_run, timed[1] / "results.json", timed[1])
    shutil.copytree(timed[0], tmp_path / "run")
    (tmp_path / "run" / REMOTE).write_text('{"version": 2, "devices": []}')
    with pytest.raises(RunFolderError, match="version 2"):
        read_timings(open_run(tmp_path / "run"))


def test_latencies_of_another_precision_are_not_compared(tiny_task: str, tmp_path: Path) -> None:
    run = run_search(tiny_task, out=tmp_path / "run", device="cortex-m4", trials=1, samples=8, threads=1)
    with pytest.raises(InputError, match="--precision int8"):
        pack_front(run, tmp_path / "kit")
    assert not (tmp_path / "kit").exists()
