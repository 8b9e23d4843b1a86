"""``trials.csv`` and ``front.json`` hold what the run holds."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from espalier.reports.front_json import write_front_json
from espalier.reports.trials_csv import trials_csv, write_trials_csv


@pytest.fixture(scope="module")
def rows(known_run: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(trials_csv(known_run))))


def test_there_is_a_row_for_each_trial_in_order(rows: list[dict[str, str]]) -> None:
    assert [row["trial"] for row in rows] == [str(n) for n in range(9)]


def test_a_complete_trial_has_all_its_numbers(rows: list[dict[str, str]]) -> None:
    row = rows[2]
    assert row["state"] == "complete"
    assert row["origin"] == "uniform 0.50"
    assert row["samples"] == "4000"
    assert row["rung"] == ""
    assert float(row["accuracy"]) == 0.965
    assert float(row["latency_ms"]) == 0.20  # as the search saw it, not as it was timed again
    assert row["latency_source"] == "measured"
    assert float(row["latency_error"]) == 0.05
    assert row["energy_mj"] == ""
    assert row["precision"] == "fp32"
    assert (row["on_front"], row["feasible"]) == ("true", "true")
    assert float(row["seconds:train"]) == 2.0
    assert [row[f"kept:{name}"] for name in ("stem.conv", "stage3.0.conv1", "head.hidden")] == ["8", "32", "64"]


def test_a_failed_trial_has_its_reason_and_no_number(rows: list[dict[str, str]]) -> None:
    row = rows[6]
    assert row["state"] == "failed"
    assert row["reason"] == "the loss became NaN after 640 samples"
    assert row["accuracy"] == row["latency_ms"] == row["kept:stem.conv"] == row["feasible"] == ""
    assert row["on_front"] == "false"


def test_dominated_and_infeasible_trials_are_told_apart(rows: list[dict[str, str]]) -> None:
    assert (rows[4]["on_front"], rows[4]["feasible"]) == ("false", "true")
    assert (rows[5]["on_front"], rows[5]["feasible"]) == ("false", "false")


def test_a_run_without_trials_has_a_header_only(runs: ModuleType, tmp_path: Path) -> None:
    run = runs.write_run(tmp_path / "run", trials=(), final=None)
    path = write_trials_csv(run)
    assert path == tmp_path / "run" / "trials.csv"
    assert path.read_text(encoding="utf-8").startswith("trial,state,origin,reason,samples,")
    assert path.read_text(encoding="utf-8").count("\n") == 1


def test_front_json_is_the_runs_document(known_run: Any, tmp_path: Path) -> None:
    path = write_front_json(known_run, tmp_path / "front.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["version"] == 1
    assert document["dense"]["test_accuracy"] == 0.97
    assert [c["trial"] for c in document["configurations"]] == [3, 8, 2, 1, 0]
    assert document["configurations"][0]["metrics"]["latency_ms"] == 0.11
    assert document["fidelity"] == {"samples": 4000}
