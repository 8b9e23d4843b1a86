"""Every number says at which precision it is, on boards that run int8 alone."""

from __future__ import annotations

import dataclasses

import pytest

from espalier.cli.main import main
from espalier.evaluators.hardware.device import load_device
from espalier.reports.export import export
from espalier.reports.manifest import CARD, Manifest
from espalier.reports.precision import costs_precision, told_precision
from espalier.reports.sections.networks import dense_network, network
from espalier.reports.verify import verify
from espalier.search.run_search import run_search


def test_costs_are_told_at_what_the_device_runs():
    board, host = load_device("cortex-m7"), load_device("host")
    assert told_precision("fp32", board) == "accuracy fp32, costs int8"
    assert [told_precision("int8", device) for device in (board, host, None)] == ["int8"] * 3
    assert [costs_precision("fp32", device) for device in (board, host, None)] == ["int8", "fp32", "fp32"]


@pytest.fixture(scope="module")
def board_run(tiny_task, tmp_path_factory):
    out = tmp_path_factory.mktemp("board") / "run"
    return run_search(tiny_task, device="cortex-m4", out=out, trials=2, samples=64, threads=1)


def test_report_card_and_tables_name_both(board_run, tmp_path, capsys):
    assert dense_network(board_run).precision == "accuracy fp32, costs int8"
    assert {network(board_run, c).precision for c in board_run.front.configurations} == {"accuracy fp32, costs int8"}
    report = tmp_path / "report.html"
    assert main(["report", str(board_run.path), "--out", str(report)]) == 0
    assert "as brought, accuracy fp32, costs int8" in report.read_text()
    capsys.readouterr()
    out = tmp_path / "small"
    assert main(["export", str(board_run.path), "--pick", "fastest", "--formats", "onnx", "--out", str(out)]) == 0
    assert "The dense network's are at: accuracy fp32, costs int8." in capsys.readouterr().out
    card = (out / CARD).read_text()
    assert "at fp32 (accuracy) and int8 (latency, size, memory and energy, as `cortex-m4` runs it)" in card
    assert main(["verify", str(out), "--trust"]) == 0
    printed = capsys.readouterr().out
    assert "Not checked: latency_ms, as the device is not here." in printed
    assert "not checked: cortex-m4 is not here; predicted again (roofline)" in printed


def test_a_latency_that_was_not_predicted_so_fails_all_the_same(board_run, tmp_path):
    out = export(board_run, "fastest", tmp_path / "small", formats=("onnx",))
    manifest = Manifest.read(out)
    claimed = {**manifest.claimed, "latency_ms": 1.5 * (manifest.claimed["latency_ms"] or 0.0)}
    dataclasses.replace(manifest, claimed=claimed).write(out)
    (check,) = [check for check in verify(out, trust=True).checks if check.name == "latency_ms"]
    assert (check.passed, check.checked) == (False, False)
