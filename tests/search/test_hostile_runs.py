"""Run folders that lost something, or that somebody else wrote: refused by name, and never begun again in silence."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path

import pytest

from espalier.cli.main import main
from espalier.errors import EvaluationError, RunFolderError
from espalier.search.options import SearchOptions
from espalier.search.run_search import search_problem
from espalier.testing.analytic import AnalyticEvaluator, analytic_graph, analytic_problem


def emptied(folder: Path) -> str:
    (folder / "study.journal").write_bytes(b"")
    return "is empty"


def removed(folder: Path) -> str:
    (folder / "study.journal").unlink()
    return "is gone"


def shortened(folder: Path) -> str:
    """Whole lines, but only those up to the end of the third trial."""
    lines = (folder / "study.journal").read_bytes().splitlines(keepends=True)
    ends = [number for number, line in enumerate(lines) if b"datetime_complete" in line]
    (folder / "study.journal").write_bytes(b"".join(lines[: ends[2] + 1]))
    return "holds"


def of_another_study(folder: Path) -> str:
    text = (folder / "study.journal").read_text()
    name = json.loads((folder / "run.json").read_text())["study_name"]
    (folder / "study.journal").write_text(text.replace(name, "another"))
    return "has no study"


def without_log(folder: Path) -> str:
    (folder / "log.jsonl").unlink()
    return removed(folder)


def contents(folder: Path) -> dict[Path, bytes]:
    """Return a run's files but those that say that it was tried to go on."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("run.json", "log.jsonl"))
    return {path: path.read_bytes() for path in files}


@pytest.mark.parametrize("loss", [emptied, removed, shortened, of_another_study, without_log])
def test_a_run_whose_journal_lost_trials_is_not_begun_again(search, loss):
    run = search(trials=6)
    words = loss(run.path)
    before = contents(run.path)
    with pytest.raises(RunFolderError, match=words) as refused:
        search(trials=8, resume=True)
    assert "knows of trials" in str(refused.value)
    after = contents(run.path)
    assert {path: after.get(path) for path in before} == before
    assert (run.path / "study.journal").exists() is (loss not in (removed, without_log))


def test_a_run_whose_database_is_gone_is_not_begun_again(search, tmp_path):
    database = tmp_path / "study.db"
    run = search(trials=4, storage=f"sqlite:///{database}")
    database.unlink()
    with pytest.raises(RunFolderError, match="is gone"):
        search(trials=6, storage=f"sqlite:///{database}", resume=True)
    assert main(["pick", str(run.path)]) == 2
    assert not database.exists()


def test_no_tables_are_made_in_a_database_that_a_run_names(search, tmp_path):
    import sqlite3

    run = search(trials=3)
    with sqlite3.connect(tmp_path / "mine.db") as mine:
        mine.execute("create table notes (text)")
    content = json.loads((run.path / "run.json").read_text())
    content["options"]["storage"] = f"sqlite:///{tmp_path / 'mine.db'}"
    (run.path / "run.json").write_text(json.dumps(content))
    before = (tmp_path / "mine.db").read_bytes()
    assert main(["pick", str(run.path)]) == 2
    assert (tmp_path / "mine.db").read_bytes() == before


def test_a_search_that_was_killed_before_its_first_trial_goes_on(search):
    run = search(trials=2)
    for path in (*run.path.glob("policies/*"), *run.path.glob("weights/*")):
        path.unlink()
    for name in ("study.journal", "log.jsonl", "front.json", "finished.json"):
        (run.path / name).unlink()
    assert len(search(trials=2, resume=True).configurations) == 2


def test_a_resume_deletes_nothing_where_a_link_leads(search, tmp_path):
    run = search(trials=4)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "7.safetensors").write_text("mine")
    for path in (run.path / "weights").iterdir():
        path.unlink()
    (run.path / "weights").rmdir()
    (run.path / "weights").symlink_to(tmp_path / "mine")
    with pytest.raises(RunFolderError, match="is a link"):
        search(trials=6, resume=True)
    assert (tmp_path / "mine" / "7.safetensors").read_text() == "mine"


def test_what_a_user_put_beside_the_weights_stays(search):
    run = search(trials=4)
    (run.path / "weights" / "notes.txt").write_text("mine")
    (run.path / "weights" / "999.safetensors").write_text("of no trial")
    search(trials=6, resume=True)
    assert (run.path / "weights" / "notes.txt").exists()
    assert not (run.path / "weights" / "999.safetensors").exists()


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text for you")


class UnpicklableError(Exception):
    def __init__(self, one, two) -> None:
        super().__init__(one)
        self.held = (lambda: two, open)

    def __reduce__(self):
        raise TypeError("not to be pickled")


FAULTS = {
    "exit": lambda: SystemExit(0),
    "exit with a text": lambda: SystemExit("bye"),
    "generator": GeneratorExit,
    "interrupt": KeyboardInterrupt,
    "unprintable": UnprintableError,
    "unpicklable": lambda: UnpicklableError("one", "two"),
    "base": lambda: BaseException("bare"),
    "memory": lambda: MemoryError(),
    "warning": lambda: DeprecationWarning("as an error"),
}


class Faulty(AnalyticEvaluator):
    """Raises what it is told on every third trial."""

    def evaluate(self, request):
        if request.trial % 3 == 1:
            raise FAULTS[self.fault]()
        return super().evaluate(request)


def faulty(fault, *channels):
    evaluator = Faulty(analytic_graph(*channels))
    object.__setattr__(evaluator, "fault", fault)
    return evaluator


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_a_task_raises_is_a_failed_trial(fault, tmp_path):
    problem = dataclasses.replace(analytic_problem(8, 16, 16), factory=partial(faulty, fault, 8, 16, 16))
    options = SearchOptions(task="analytic", trials=9, threads=1)
    run = search_problem(problem, options, tmp_path / "run")
    failed = [trial for trial in run.trials if trial.state == "failed"]
    assert len(failed) >= 2
    assert all(trial.number % 3 == 1 for trial in failed)
    assert all(isinstance(trial.reason, str) and trial.reason for trial in failed)
    assert len(failed) + sum(trial.state == "complete" for trial in run.trials) >= 9
    name = type(FAULTS[fault]()).__name__
    assert all(name in str(trial.reason) for trial in failed)


def test_worker_processes_report_what_ends_them_in_silence(tmp_path):
    def both():
        class Ending(AnalyticEvaluator):
            def evaluate(self, request):
                if request.trial in (1, 2):
                    raise (SystemExit(0), KeyboardInterrupt())[request.trial - 1]
                return super().evaluate(request)

        return Ending(analytic_graph(8, 16, 16))

    problem = dataclasses.replace(analytic_problem(8, 16, 16), factory=both)
    run = search_problem(problem, SearchOptions(task="analytic", trials=6, workers=2, threads=1), tmp_path / "run")
    reasons = {trial.number: trial.reason for trial in run.trials if trial.state == "failed"}
    assert reasons.keys() == {1, 2}
    assert "SystemExit" in reasons[1]
    assert "KeyboardInterrupt" in reasons[2]


def test_a_task_that_exits_outside_of_a_trial_is_an_error_and_not_the_end(tmp_path):
    class Quits(AnalyticEvaluator):
        def finish(self, members):
            raise SystemExit(0)

    problem = dataclasses.replace(analytic_problem(8, 16, 16), factory=lambda: Quits(analytic_graph(8, 16, 16)))
    with pytest.raises(EvaluationError, match=r"SystemExit.*sys\.exit"):
        search_problem(problem, SearchOptions(task="analytic", trials=3, threads=1), tmp_path / "run")


TASK = """
import sys
import torch
from torch import nn
from espalier import Task

def leave(*_, **__):
    sys.exit({code})

def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))

x = torch.randn(64, 4)
task = Task(name="leaving", model=network, example_input=x[:1].clone(), train=(x, x.argmax(1) % 2),
            validation=(x, x.argmax(1) % 2), batch_size=32, {how})
"""


@pytest.mark.parametrize(
    ("how", "code", "wanted"),
    [
        ("fine_tune=leave", "0", 1), ("fine_tune=leave", "'done'", 1), ("metric=leave", "0", 2), ("loss=leave", "", 2),
        ("**leave()", "0", 2),
    ],
)  # fmt: skip
def test_the_command_line_never_says_that_an_unfinished_search_is_done(tmp_path, capsys, how, code, wanted):
    file = tmp_path / "leaving.py"
    file.write_text(TASK.format(how=how, code=code))
    words = ["search", f"{file}:task", "--trials", "8", "--samples", "64", "--threads", "1", "--out", tmp_path / "run"]
    assert main([str(word) for word in words]) == wanted
    shown = capsys.readouterr().err
    assert "SystemExit" in shown
    assert "Traceback" not in shown


def test_a_resume_imports_no_task_that_only_the_folder_names(search, tmp_path, capsys):
    run = search(trials=3)
    marker, evil = tmp_path / "executed", tmp_path / "evil.py"
    evil.write_text(f"open({str(marker)!r}, 'w').close()\n")
    inside = run.path / "evil.py"
    inside.write_text(evil.read_text())
    for reference in (f"{evil}:task", f"{inside}:task", "os:system"):
        content = json.loads((run.path / "run.json").read_text())
        content["options"]["task"] = content["task_reference"] = reference
        (run.path / "run.json").write_text(json.dumps(content))
        assert main(["search", "--out", str(run.path), "--resume"]) == 2
        assert "importing it executes it" in capsys.readouterr().err
    assert not marker.exists()
