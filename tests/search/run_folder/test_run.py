from __future__ import annotations

import json
import shutil

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

from espalier.errors import RunFolderError
from espalier.search.run_folder import journal, open_run
from espalier.spaces.policy import Policy


def snapshot(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def test_what_is_opened_again_is_what_was_searched(search):
    run = search(trials=12)
    again = open_run(run.path)
    assert again.info == run.info
    assert again.trials == run.trials
    assert again.front == run.front
    assert [g.channels for g in again.graph_summary.groups] == [8, 16, 16]
    assert again.info.versions["espalier"]
    trial = again.trials[5]
    assert 1.6e9 < (trial.started or 0) <= (trial.finished or 0)
    assert trial.configuration is not None
    assert Policy.from_json(again.policy_path(5).read_text()) == trial.configuration.policy


def test_an_existing_run_is_left_untouched_without_resume(search):
    run = search(trials=5)
    before = snapshot(run.path)
    with pytest.raises(RunFolderError, match=r"holds a run already.*--resume"):
        search(trials=9)
    assert snapshot(run.path) == before


def test_a_folder_with_other_things_is_left_untouched(search, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    for resume in (False, True):
        with pytest.raises(RunFolderError, match=r"thesis.tex but no run.json"):
            search(resume=resume)
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["thesis.tex"]


def test_an_empty_folder_and_resuming_nothing_start_a_run(search, tmp_path):
    (tmp_path / "run").mkdir()
    assert len(search(trials=3).trials) == 3
    assert len(search(trials=3, folder="new", resume=True).trials) == 3


@pytest.mark.parametrize("place", ["file/run", "file"])
def test_a_folder_that_cannot_be_written(search, tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot be written"):
        search(folder=place)


def test_a_read_only_file_system(search):
    with pytest.raises(RunFolderError, match="cannot be written"):
        search(folder="/proc/espalier-run")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 9}, "seed is 9, in the run 0"),
        ({"objectives": "accuracy,macs"}, "objectives is"),
        ({"constraints": ["size_bytes<=100"]}, "constraints is"),
        ({"sampler": "random"}, "sampler is 'random', in the run 'tpe'"),
        ({"samples": 7}, "samples is 7"),
        ({"criteria": "l1"}, "criteria is"),
        ({"device": "cortex-m4"}, "device is 'cortex-m4'"),
        ({"channels": (8, 16, 24)}, "the model's fingerprint"),
    ],
)
def test_resuming_with_something_else_names_it_and_changes_nothing(search, change, words):
    run = search(trials=5)
    before = snapshot(run.path)
    with pytest.raises(RunFolderError, match=words):
        search(trials=8, resume=True, **change)
    assert snapshot(run.path) == before


def test_data_that_look_changed_are_a_warning_where_the_dense_network_scores_the_same(search):
    search(trials=3)
    run = search(trials=5, resume=True, problem={"data": "other"})
    (warning,) = [e["text"] for e in run.events if e["event"] == "warning"]
    assert "the data's fingerprint is 'other', in the run 'analytic'" in warning
    assert len(run.trials) == 5


def test_data_that_look_changed_are_refused_where_the_dense_network_scores_otherwise(search):
    run = search(trials=3)
    content = json.loads((run.path / "run.json").read_text())
    content["dense"]["metrics"]["accuracy"] *= 0.9
    (run.path / "run.json").write_text(json.dumps(content))
    with pytest.raises(RunFolderError, match=r"the data's fingerprint .* the dense network scores"):
        search(trials=5, resume=True, problem={"data": "other"})


def test_another_major_version_is_named(search):
    run = search(trials=3)
    content = json.loads((run.path / "run.json").read_text())
    content["versions"]["espalier"] = "7.0.0"
    (run.path / "run.json").write_text(json.dumps(content))
    with pytest.raises(RunFolderError, match="major version is '0', in the run '7'"):
        search(trials=5, resume=True)


def test_two_searches_of_one_folder_exclude_each_other(search):
    run = search(trials=3)
    with journal.exclusive(run.path), pytest.raises(RunFolderError, match="searched by another process"):
        search(trials=5, resume=True)


@pytest.mark.parametrize("name", ["run.json", "policies/3.json", "finished.json"])
def test_a_torn_json_file_is_named(search, name):
    run = search(trials=5)
    path = run.path / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RunFolderError, match=f"{path.name} is torn"):
        _ = open_run(run.path).front


@pytest.mark.parametrize(
    "content", ["{}", "[]", '{"version": 1}', '{"version": 2}', '{"version": 1, "options": {"task": 3}}']
)
def test_a_run_file_without_its_fields_is_named(search, content):
    run = search(trials=3)
    (run.path / "run.json").write_text(content)
    with pytest.raises(RunFolderError, match=r"run\.json"):
        open_run(run.path)


def test_no_run(tmp_path):
    with pytest.raises(RunFolderError, match="no folder"):
        open_run(tmp_path / "none")
    with pytest.raises(RunFolderError, match=r"no file .*run\.json"):
        open_run(tmp_path)


def test_optuna_alone_loses_a_journal_that_is_appended_to_after_a_torn_line(search):
    """The reason for journal.repair: were Optuna to survive this, it could go."""
    run = search(trials=5)
    path = run.path / "study.journal"
    path.write_bytes(path.read_bytes()[:-10])
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    study = optuna.load_study(study_name=run.info.study_name, storage=storage)
    study.set_user_attr("joined", "to the torn line")
    with pytest.raises(json.JSONDecodeError):
        study.set_user_attr("after", "it")


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_torn_last_line_of_the_journal_is_cut_off_on_resume(search, cut):
    run = search(trials=8)
    path = run.path / "study.journal"
    path.write_bytes(path.read_bytes()[:-cut])
    readable = open_run(run.path)
    assert sum(t.state == "complete" for t in readable.trials) == 7
    later = search(trials=10, resume=True)
    assert sum(t.state == "complete" for t in later.trials) == 10
    assert later.trials[:7] == run.trials[:7]
    assert later.trials[7].configuration == run.trials[7].configuration, "its evaluation was stored, so it is adopted"
    assert any("torn last line" in e.get("text", "") for e in later.events)


def test_a_torn_line_in_the_middle_of_the_journal_is_an_error_that_changes_nothing(search):
    run = search(trials=5)
    path = run.path / "study.journal"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:10], lines[10][:15] + b"\n", *lines[11:]]))
    before = snapshot(run.path)
    with pytest.raises(RunFolderError, match=r"study\.journal is torn"):
        _ = open_run(run.path).trials
    with pytest.raises(RunFolderError, match=r"study\.journal is torn .line 11 of"):
        search(trials=8, resume=True)
    assert snapshot(run.path)[path.relative_to(run.path)] == before[path.relative_to(run.path)]


def test_an_absent_journal_is_named(search):
    run = search(trials=3)
    (run.path / "study.journal").unlink()
    with pytest.raises(RunFolderError, match=r"no file .*study\.journal"):
        _ = open_run(run.path).trials


def test_lock_files_that_optuna_left_behind_do_not_matter(search):
    run = search(trials=3)
    (run.path / "study.journal.lock").symlink_to(run.path / "study.journal")
    assert len(search(trials=6, resume=True).trials) == 6


def test_a_torn_line_in_the_log_is_left_out(search):
    run = search(trials=3)
    path = run.path / "log.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    later = search(trials=5, resume=True)
    assert [e["event"] for e in later.events].count("trial finished") == 5
    assert later.events[-1]["event"] == "finished"


def test_a_run_can_be_moved(search, tmp_path):
    run = search(trials=6)
    shutil.move(run.path, tmp_path / "elsewhere")
    assert search(trials=6, folder="elsewhere", resume=True).front.configurations
