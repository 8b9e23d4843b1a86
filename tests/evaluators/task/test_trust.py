"""Whose task may be imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from espalier.errors import RunFolderError
from espalier.evaluators.task.trust import is_own, refuse_untrusted, remember


@pytest.fixture
def state(tmp_path, monkeypatch):
    """A state folder of this test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def allowed(reference: str, folder: Path, run: str = "espalier-clouds-12345678") -> bool:
    try:
        refuse_untrusted(reference, folder, run=run, remedy="Name it.")
    except RunFolderError:
        return False
    return True


def test_a_run_is_known_by_its_name_and_task_wherever_it_lies(state, tmp_path):
    remember("espalier-clouds-12345678", "/home/me/clouds.py:task")
    assert is_own("espalier-clouds-12345678", "/home/me/clouds.py:task")
    assert allowed("/home/me/clouds.py:task", tmp_path / "runs" / "a")
    assert allowed("/home/me/clouds.py:task", tmp_path / "moved")
    assert not allowed("/home/me/other.py:task", tmp_path / "moved")
    assert not allowed("/home/me/clouds.py:task", tmp_path / "moved", run="espalier-clouds-00000000")


def test_a_run_of_somebody_else_is_not_and_built_in_tasks_always_are(state, tmp_path):
    assert not allowed("/home/me/clouds.py:task", tmp_path)
    assert not allowed("os:system", tmp_path)
    assert allowed("digits", tmp_path)
    remember("name", "digits")
    assert not state.exists()


def test_what_lies_in_the_folder_is_never_taken_for_ones_own(state, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    folder.mkdir()
    remember("name", f"{folder / 'task.py'}:task")
    remember("module", "package.tasks:task")
    assert not allowed(f"{folder / 'task.py'}:task", folder, run="name")
    assert allowed("package.tasks:task", folder, run="module")
    monkeypatch.chdir(folder)  # where Python would look for the module first
    assert not allowed("package.tasks:task", folder, run="module")


@pytest.mark.parametrize("name", ["../../escape", "/etc/passwd", "a\0b", "x" * 5000])
def test_the_name_of_a_run_is_no_path(state, tmp_path, name):
    assert not is_own(name, "a.py:b")
    remember(name, "a.py:b")
    assert [path.parent for path in state.rglob("*.json")] == [state / "espalier" / "runs"]


def test_a_state_folder_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="XDG_STATE_HOME"):
        remember("name", "a.py:b")
    assert not is_own("name", "a.py:b")
