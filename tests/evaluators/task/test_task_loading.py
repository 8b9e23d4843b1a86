"""Finding tasks, and saying what is wrong with one."""

from __future__ import annotations

import dataclasses
import textwrap

import pytest
import torch

from espalier.errors import TaskError, UnknownNameError
from espalier.evaluators.task.task_checks import check_task, data_fingerprint
from espalier.evaluators.task.task_loading import load_task

TASK = """
    import torch
    from torch import nn
    from espalier import Task

    DATA = (torch.randn(40, 4), torch.arange(40) % 3)
    mine = Task(name="mine", model=lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)),
                example_input=torch.zeros(1, 4), train=DATA, validation=DATA)

    def made(data=None):
        return mine
"""


@pytest.fixture
def task_file(tmp_path):
    def write(text: str, name: str = "tasks.py"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.mark.parametrize("suffix", ["", ":mine", ":made"])
def test_a_file_gives_its_task(task_file, suffix):
    reference = f"{task_file(TASK)}{suffix}"
    task = load_task(reference)
    assert (task.name, task.reference) == ("mine", reference)
    check_task(task)


def test_a_module_gives_its_task(task_file, monkeypatch):
    monkeypatch.chdir(task_file(TASK, "my_tasks_module.py").parent)
    assert load_task("my_tasks_module:mine").name == "mine"


def test_near_names_are_suggested(task_file):
    with pytest.raises(UnknownNameError, match="Did you mean 'digits'"):
        load_task("digit")
    with pytest.raises(UnknownNameError, match="Did you mean 'mine'"):
        load_task(f"{task_file(TASK)}:mime")


def test_an_import_that_fails_keeps_the_last_line_of_its_traceback_and_its_place(task_file):
    path = task_file("import torch\nimport no_such_module_here\n")
    with pytest.raises(TaskError, match=r"line 2 .*ModuleNotFoundError: No module named 'no_such_module_here'"):
        load_task(f"{path}:mine")


def test_other_misuse_is_named(task_file, tmp_path):
    with pytest.raises(TaskError, match="no task file"):
        load_task(str(tmp_path / "absent.py:mine"))
    path = task_file("value = 3\ndef broken():\n    raise KeyError('weights')\n")
    with pytest.raises(TaskError, match="is int"):
        load_task(f"{path}:value")
    with pytest.raises(TaskError, match="KeyError: 'weights'"):
        load_task(f"{path}:broken")
    with pytest.raises(TaskError, match="holds 0 tasks"):
        load_task(str(path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"example_input": torch.zeros(1, 3, 8, 8)}, "forward pass on example_input .* fails: RuntimeError"),
        ({"model": lambda: "weights.pt"}, "gave str; expected an nn.Module"),
        ({"metric": lambda outputs, targets: float("nan")}, "gave nan"),
        ({"metric": "acuracy"}, "Did you mean 'accuracy'"),
        ({"train": (torch.zeros(4, 1, 8, 8), torch.zeros(3))}, "same number of samples"),
        ({"validation": (torch.zeros(0, 1, 8, 8), torch.zeros(0))}, "validation data is empty"),
        ({"validation": None}, "has no validation data"),
        ({"loss": lambda outputs, targets: outputs.sum() * float("inf")}, "loss of task 'stripes' is"),
        ({"train": (torch.zeros(4, 1, 8, 8), torch.zeros(4))}, "train targets are float32 of shape"),
    ],
)
def test_what_a_task_cannot_do_is_said_before_the_search(stripes_task, change, message):
    check_task(stripes_task)
    with pytest.raises((TaskError, UnknownNameError), match=message):
        check_task(dataclasses.replace(stripes_task, **change))


def test_the_data_fingerprint_sees_every_split(stripes_task):
    base = data_fingerprint(stripes_task)
    x, y = stripes_task.test
    assert data_fingerprint(dataclasses.replace(stripes_task, test=(x + 1, y))) != base
    assert data_fingerprint(dataclasses.replace(stripes_task, test=None)) != base


def test_a_relative_file_is_remembered_by_its_absolute_path(task_file, monkeypatch, tmp_path):
    monkeypatch.chdir(task_file(TASK).parent)
    reference = load_task("tasks.py:mine").reference
    assert reference == f"{tmp_path}/tasks.py:mine"
    monkeypatch.chdir("/")
    assert load_task(reference).name == "mine"
