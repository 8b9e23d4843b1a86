"""What a user can get wrong: exit code 2, one message with value, expectation and remedy, and nothing changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

TASK_HEAD = """
import torch
from torch import nn
from espalier.evaluators.task.task import Task
x, y = torch.randn(40, 8), torch.arange(40) % 3
def network():
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3)).eval()
def make(**changes):
    given = dict(name="own", model=network, example_input=torch.zeros(1, 8), train=(x, y), validation=(x, y))
    return Task(**{**given, **changes})
"""


def assert_refused(result, *words: str) -> None:
    assert result.code == 2, result
    assert result.out == ""
    lines = result.err.splitlines()
    assert len([line for line in lines if line.startswith("espalier: error:")]) == 1, result.err
    assert "Traceback" not in result.err
    assert "; expected " in result.err or "unknown" in result.err
    for word in words:
        assert word in result.err, f"{word!r} is not in {result.err!r}"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def task_file(folder: Path, code: str) -> str:
    path = folder / "own.py"
    path.write_text(TASK_HEAD + code)
    return f"{path}:task"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["search", "digit", "--out", "OUT"], ["'digit'", "Did you mean 'digits'"]),
        (["inspect", "digts"], ["'digts'", "'digits'"]),
        (["search", "TASK", "--out", "OUT", "--device", "hots"], ["'hots'", "'host'"]),
        (["inspect", "digits", "--device", "raspbery-pi-4"], ["raspberry-pi-4"]),
        (["devices", "cortex-m44"], ["'cortex-m44'", "cortex-m4"]),
        (["search", "TASK", "--out", "OUT", "--criteria", "l2,taylr"], ["'taylr'", "'taylor'"]),
        (["search", "TASK", "--out", "OUT", "--types", "chanel"], ["'chanel'", "'channel'"]),
        (["search", "TASK", "--out", "OUT", "--objectives", "accuracy,latncy"], ["'latncy'", "latency"]),
        (["search", "TASK", "--out", "OUT", "--sampler", "tpee"], ["'tpee'", "'tpe'"]),
        (["search", "TASK", "--out", "OUT", "--constraint", "latency_ms~5"], ["'latency_ms~5'", "METRIC<=NUMBER"]),
        (["search", "TASK", "--out", "OUT", "--constraint", "latncy_ms<=5"], ["'latncy_ms'", "latency_ms"]),
        (["search", "TASK", "--out", "OUT", "--budget", "soon"], ["'soon'", "30m"]),
        (["search", "TASK", "--out", "OUT", "--trials", "0"], ["trials 0"]),
        (["search", "TASK"], ["--out RUN"]),
        (["search", "--out", "OUT"], ["TASK"]),
        (["search", "no/such/file.py:task", "--out", "OUT"], ["no task file"]),
        (["report", "OUT"], ["no folder"]),
        (["pick", "OUT"], ["no folder"]),
        (["compare", "RUN"], ["two or more"]),
        (["pick", "RUN", "--max-drop", "lots"], ["'lots'"]),
        (["export", "RUN", "--pick", "kne", "--out", "OUT"], ["'kne'", "'knee'"]),
        (["export", "RUN", "--pick", "77", "--out", "OUT"], ["trial 77"]),
        (["export", "RUN", "--formats", "onx", "--out", "OUT"], ["'onx'", "'onnx'"]),
        (["verify", "OUT"], ["manifest.json"]),
    ],
)  # fmt: skip
def test_unknown_and_malformed_values(words, expected, espalier, tiny_task, tiny_run, tmp_path):
    out = tmp_path / "out"
    places = {"OUT": str(out), "TASK": tiny_task, "RUN": str(tiny_run)}
    assert_refused(espalier(*(places.get(word, word) for word in words)), *expected)
    assert not out.exists()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import nothing_of_this_name\ntask = make()", ["ModuleNotFoundError", "nothing_of_this_name"]),
        ("task = make(example_input=torch.zeros(1, 5))", ["forward pass on example_input", "RuntimeError"]),
        ("task = make(metric=lambda outputs, targets: float('nan'))", ["metric", "nan"]),
        ("task = make(validation=(x[:0], y[:0]))", ["validation", "empty"]),
        ("task = make(train=(x, y[:7]))", ["(40, 8)", "(7,)"]),
        ("task = 3", ["int", "Task"]),
        ("tasks = make()", ["'task'", "'tasks'"]),
    ],
)
def test_tasks_that_cannot_be_used(code, expected, espalier, tmp_path):
    out = tmp_path / "run"
    assert_refused(espalier("search", task_file(tmp_path, code), "--out", out, "--trials", "2"), *expected)
    assert not out.exists()


def test_a_constraint_that_nothing_meets_says_what_is_attainable(espalier, tiny_task, tmp_path):
    out = tmp_path / "run"
    result = espalier("search", tiny_task, "--out", out, "--trials", "2", "--constraint", "size_bytes<=10")
    assert_refused(result, "size_bytes<=10", "(most pruned)", "(dense)")
    assert not out.exists()


def test_an_existing_run_is_left_untouched(espalier, tiny_task, tiny_run):
    before = snapshot(tiny_run)
    assert_refused(espalier("search", tiny_task, "--out", tiny_run, "--trials", "6"), str(tiny_run), "--resume")
    again = espalier("search", tiny_task, "--out", tiny_run, "--resume", "--seed", "7", "--criteria", "l1")
    assert_refused(again, "seed is 7, in the run 0", "criteria")
    assert snapshot(tiny_run) == before


def test_a_folder_that_cannot_be_written(espalier, tiny_task, tiny_run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    place = tmp_path / "file" / "deeper"
    assert_refused(espalier("search", tiny_task, "--out", place, "--trials", "2"), str(place))
    assert_refused(espalier("export", tiny_run, "--out", place), str(place))
    assert_refused(espalier("report", tiny_run, "--out", place / "report.html"), str(place))
    assert_refused(espalier("demo", "--out", place), str(place))


def test_an_export_does_not_overwrite(espalier, tiny_run, tiny_export):
    before = snapshot(tiny_export)
    assert_refused(espalier("export", tiny_run, "--out", tiny_export), str(tiny_export), "--out")
    assert snapshot(tiny_export) == before


@pytest.mark.parametrize("torn", ["run.json", "policies/0.json", "finished.json", "rankings.json"])
def test_a_torn_run_folder(torn, espalier, tiny_task, tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    (run / torn).write_text((run / torn).read_text()[:-20])
    before = snapshot(run)
    command = ["search", tiny_task, "--out", run, "--resume"] if torn == "rankings.json" else ["pick", run]
    assert_refused(espalier(*command), torn, "torn")
    assert snapshot(run) == before


def test_a_config_with_an_unknown_option(espalier, tiny_task, tmp_path):
    config = tmp_path / "search.yaml"
    config.write_text("trails: 5\n")
    assert_refused(espalier("search", tiny_task, "--config", config, "--out", tmp_path / "run"), "'trails'", "'trials'")


def test_a_demo_folder_that_exists(espalier, tiny_run, tiny_export, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "demo" / "run")
    assert_refused(espalier("demo", "--out", tmp_path / "demo"), "not finished", "--resume")
    shutil.copytree(tiny_export, tmp_path / "demo" / "export")
    assert_refused(espalier("demo", "--out", tmp_path / "demo"), "finished demo", "rm -r")


def test_the_process_itself_ends_with_the_code_and_one_line(espalier_process, tmp_path):
    result = espalier_process("inspect", "digit", cwd=tmp_path)
    assert_refused(result, "Did you mean 'digits'?")
    assert len(result.err.splitlines()) == 1


def test_an_error_of_ours_keeps_its_traceback(espalier, monkeypatch, tiny_run):
    import espalier.reports.picks as picks

    def fails(*_, **__):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(picks, "answer", fails)
    with pytest.raises(ZeroDivisionError):
        espalier("pick", tiny_run)
