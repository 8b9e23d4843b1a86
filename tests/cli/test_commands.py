"""Each command on a real run: what it prints, writes and returns."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def test_inspect_prints_groups_frozen_groups_and_cost(espalier, tiny_task):
    result = espalier("inspect", tiny_task, "--sensitivity")
    assert result.code == 0
    for word in ("2 groups", "exact", "its channels are an output", "measured", "parameters", "linear", "Half pruned"):
        assert word.replace(" ", "") in result.out.replace(" ", "").replace("\u202f", "")


def test_inspect_as_json(espalier, tiny_task):
    found = json.loads(espalier("inspect", tiny_task, "--json", "--device", "cortex-m4").out)
    assert [group["channels"] for group in found["groups"]] == [32, 32]
    assert all(group["widths"][-1] == 32 for group in found["groups"])
    assert [frozen["channels"] for frozen in found["frozen"]] == [3]
    assert found["dense"]["params"] == 8 * 32 + 32 + 2 * 32 + 32 * 32 + 32 + 32 * 3 + 3
    assert found["dense"]["source"] == "roofline"
    assert found["sensitivity"] == []
    assert len(found["layers"]) >= 3
    assert found["type_notes"]["channel"] == "offered"
    assert "smaller file only" in found["type_notes"]["nm"]


def test_devices_lists_and_shows(espalier):
    listed = espalier("devices").out
    assert "host" in listed
    assert "cortex-m4" in listed
    everything = json.loads(espalier("devices", "--json").out)
    assert {"host", "raspberry-pi-4", "cortex-m4"} <= {device["name"] for device in everything}
    one = json.loads(espalier("devices", "cortex-m4", "--json").out)
    assert one in everything
    assert "source:" in espalier("devices", "cortex-m4").out


def test_search_dry_run_writes_nothing(espalier, tiny_task, tmp_path):
    out = tmp_path / "run"
    result = espalier("search", tiny_task, "--out", out, "--dry-run", "--trials", "10", "--samples", "64")
    assert result.code == 0
    assert "2 groups" in result.out.replace("\u202f", " ")
    assert not out.exists()
    found = json.loads(espalier("search", tiny_task, "--dry-run", "--json", "--samples", "64").out)
    assert found["samples"] == 64
    assert found["seconds"] > 0


def test_search_takes_a_config_and_flags_win(espalier, tiny_task, tmp_path):
    out = tmp_path / "run"
    config = tmp_path / "search.yaml"
    config.write_text(
        f"task: {tiny_task}\nout: {out}\ntrials: 9\nsamples: 64\nthreads: 1\nobjectives: [accuracy, macs]\n"
    )
    result = espalier("search", "--config", config, "--trials", "2", "--json")
    assert result.code == 0, result.err
    front = json.loads(result.out)
    assert list(front["objectives"]) == ["accuracy", "macs"]
    assert json.loads((out / "run.json").read_text())["options"]["trials"] == 2
    # Resuming needs none of the options again: they are the run's own.
    more = espalier("search", tiny_task, "--out", out, "--resume", "--trials", "3")
    assert more.code == 0, more.err
    assert "macs" in more.out


def test_report_writes_three_files(espalier, tiny_run, tmp_path):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    result = espalier("report", run, "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out) == {
        "report": str(run / "report.html"),
        "front": str(run / "front.json"),
        "trials": str(run / "trials.csv"),
    }
    assert (run / "report.html").read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")


def test_pick_answers_or_names_the_nearest(espalier, tiny_run):
    easy = espalier("pick", tiny_run, "--max-drop", "100%", "--json")
    assert easy.code == 0
    assert json.loads(easy.out)["answered"] is True
    hard = espalier("pick", tiny_run, "--constraint", "params<=1")
    assert hard.code == 1
    assert "nearest" in hard.out


def test_compare(espalier, tiny_run, tmp_path):
    result = espalier("compare", tiny_run, tiny_run, "--json", "--out", tmp_path / "compare.html")
    assert result.code == 0, result.err
    first, second = json.loads(result.out)["runs"]
    assert first["hypervolume"] == second["hypervolume"]
    assert (tmp_path / "compare.html").exists()
    assert "hypervolume" in espalier("compare", tiny_run, tiny_run).out.lower()


def test_export_and_verify(espalier, tiny_run, tiny_task, tmp_path):
    out = tmp_path / "small"
    result = espalier("export", tiny_run, "--pick", "smallest", "--formats", "onnx", "--out", out)
    assert result.code == 0, result.err
    assert str(out) in result.out
    assert f"espalier verify {out} --task {tiny_task}" in result.out
    verified = espalier("verify", out, "--task", tiny_task, "--json")
    assert verified.code == 0, verified.out
    assert json.loads(verified.out)["passed"] is True


def test_verify_says_no_to_an_altered_export(espalier, tiny_export, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(tiny_export, copy)
    onnx = bytearray((copy / "model.onnx").read_bytes())
    onnx[len(onnx) // 2] ^= 1
    (copy / "model.onnx").write_bytes(onnx)
    result = espalier("verify", copy)
    assert result.code == 1
    assert "FAILED: file model.onnx" in result.out


def test_calibrate_writes_a_device_that_can_be_used(espalier, tiny_task, tmp_path):
    out = tmp_path / "machine.yaml"
    result = espalier("calibrate", "--out", out, "--minutes", "0.05", "--json")
    assert result.code == 0, result.err
    device = json.loads(result.out)["device"]
    assert device["fit"]["fp32"]["held_out"] >= 1
    assert device["fit"]["fp32"]["median_relative_error"] >= 0
    assert espalier("calibrate", "--out", out).code == 2
    estimated = json.loads(espalier("inspect", tiny_task, "--device", out, "--json").out)
    assert estimated["dense"]["latency_ms"] > 0


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_an_interrupted_search_keeps_its_run(tiny_task, tmp_path):
    run = tmp_path / "run"
    words = [
        sys.executable,
        "-m",
        "espalier",
        "search",
        tiny_task,
        "--out",
        str(run),
        "--trials",
        "5000",
        "--samples",
        "64",
    ]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    # However busy the machine: pytest's own limit ends a search that never begins.
    while not list(run.glob("policies/*.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    _, messages = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "Traceback" not in messages
    assert f"--out {run} --resume" in messages
    assert (run / "front.json").exists()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_a_terminal_gets_tables_and_a_pipe_gets_plain_lines(espalier, espalier_process):
    import pty

    assert "┃" not in espalier("devices").out
    controller, terminal = pty.openpty()
    # The table is longer than the terminal's buffer, so it is read while it is written.
    with subprocess.Popen([sys.executable, "-m", "espalier", "devices"], stdout=terminal) as process:
        os.close(terminal)
        shown = _read_to_end(controller)
    os.close(controller)
    assert process.returncode == 0
    assert "host" in shown
    assert "┃" in shown or "┏" in shown


def _read_to_end(terminal: int) -> str:
    shown = b""
    while True:
        try:
            read = os.read(terminal, 4096)
        except OSError:  # Linux's way to say that nobody writes to a terminal any more
            read = b""
        if not read:
            return shown.decode(errors="ignore")
        shown += read


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path):
    command = f"{sys.executable} -m espalier devices --json | head -c 10"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_verify_takes_a_task_that_has_moved(espalier, tiny_task, tiny_export, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(tiny_export, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "task_reference": "elsewhere/clouds.py:task"}))
    without = espalier("verify", copy)
    assert without.code == 0
    assert "Not checked: accuracy" in without.out
    assert "elsewhere/clouds.py" in without.out
    assert "--task" in without.out
    lost = espalier("verify", copy, "--trust")
    assert lost.code == 2
    assert "elsewhere/clouds.py" in lost.err
    assert espalier("verify", copy, "--task", tiny_task).code == 0
