"""Searches of tasks whose data are read from data sets: how often, and what a run is tied to."""

from __future__ import annotations

import collections

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from espalier import Task
from espalier.cli.main import main
from espalier.errors import EvaluationError, InputError, TaskError
from espalier.reports.export import export
from espalier.reports.verify import verify
from espalier.search.run_folder import open_run
from espalier.search.run_search import run_search

TASK_FILE = """
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from espalier import Task

generator = torch.Generator().manual_seed(0)
x = torch.randn(64, 6, generator=generator)
y = (x.sum(1) > 0).long()

class Augmented(Dataset):
    def __init__(self, noise, shift=0.0):
        self.noise, self.shift = noise, shift
    def __len__(self):
        return len(x)
    def __getitem__(self, row):
        return {"x": x[row] + self.shift + self.noise * torch.randn(6), "label": int(y[row])}

def network():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.eval()

def task(shift=SHIFT):
    return Task(name="augmented", model=network, example_input=x[:1], train=Augmented(0.1),
                validation=DataLoader(Augmented(0.0, shift), batch_size=16), batch_size=16)
"""
FORMATS = ("onnx", "safetensors")


@pytest.fixture
def task_file(tmp_path):
    def write(shift: float = 0.0) -> str:
        path = tmp_path / "mine.py"
        path.write_text(TASK_FILE.replace("SHIFT", str(shift)))
        return f"{path}:task"

    return write


def test_a_run_with_augmented_training_data_is_resumed_exported_and_verified(tmp_path, task_file):
    options = {"device": "cortex-m4", "samples": 64, "threads": 1}
    run = run_search(task_file(), out=tmp_path / "run", trials=2, **options)
    assert any(e["event"] == "note" and "training samples change at each reading" in e["text"] for e in run.events)
    run = run_search(task_file(), out=tmp_path / "run", trials=3, resume=True, **options)
    assert len([trial for trial in run.trials if trial.state == "complete"]) == 3
    assert not [event for event in run.events if event["event"] == "warning"]
    out = export(run, "fastest", tmp_path / "small", formats=FORMATS)
    found = verify(out, trust=True)
    assert found.passed, [check for check in found.checks if not check.passed]


def test_validation_data_that_changed_are_refused_where_scores_change(tmp_path, task_file):
    options = {"device": "cortex-m4", "samples": 64, "threads": 1}
    run = run_search(task_file(), out=tmp_path / "run", trials=2, **options)
    task_file(shift=1e-6)
    with pytest.warns(UserWarning, match="the dense network scores on them as it did"):
        out = export(run, "fastest", tmp_path / "small", formats=FORMATS)
    (check,) = [check for check in verify(out, trust=True).checks if check.name == "data fingerprint"]
    assert check.passed
    run = run_search(task_file(shift=1e-6), out=tmp_path / "run", trials=3, resume=True, **options)
    assert any("the dense network scores as it did" in e.get("text", "") for e in run.events if e["event"] == "warning")
    task_file(shift=3.0)
    with pytest.raises(InputError, match="expected the data that was searched with"):
        export(run, "fastest", tmp_path / "other", formats=FORMATS)
    with pytest.raises(InputError, match="the dense network scores"):
        run_search(task_file(shift=3.0), out=tmp_path / "run", trials=4, resume=True, **options)


class Counted(Dataset):
    """Counts how often each sample is read."""

    def __init__(self, count: int) -> None:
        self.x = torch.randn(count, 6, generator=torch.Generator().manual_seed(count))
        self.reads: collections.Counter[int] = collections.Counter()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row: int):
        self.reads[row] += 1
        return self.x[row], int(self.x[row].sum() > 0)


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 2)).eval()


def test_a_data_set_is_read_once_for_a_whole_search(tmp_path):
    train, validation, test = Counted(256), Counted(128), Counted(64)
    task = Task(
        name="counted",
        model=network,
        example_input=train.x[:1],
        train=train,
        validation=validation,
        test=test,
        batch_size=32,
    )
    run_search(task, out=tmp_path / "run", device="cortex-m4", trials=3, samples=64, threads=1, criteria="taylor")
    for data in (train, validation, test):
        # Of 32 samples there is a second reading, which tells whether they stay the same.
        assert sum(data.reads.values()) <= len(data) + 32
        assert max(data.reads.values()) <= 2


def failing(fine_tune) -> Task:
    x = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
    data = (x, (x.sum(1) > 0).long())
    return Task(name="failing", model=network, example_input=x[:1], train=data, validation=data, fine_tune=fine_tune)


def fails_when_pruned(model, task, samples, generator):
    """Train nothing, and fail on every network but the whole one, which is all that a check can try."""
    if model[0].out_features < 32:
        raise RuntimeError("no such layer")
    return model


@pytest.mark.parametrize("ladder", [True, False])
def test_a_run_in_which_every_training_failed_says_so(tmp_path, ladder):
    with pytest.raises(EvaluationError, match=r"failed.*RuntimeError: no such layer"):
        run_search(
            failing(fails_when_pruned),
            out=tmp_path / "run",
            device="cortex-m4",
            trials=3,
            samples=32 if not ladder else None,
            threads=1,
            ladder=ladder,
        )
    run = open_run(tmp_path / "run")
    assert [trial for trial in run.trials if trial.state == "failed"]
    assert run.events[-1]["event"] == "finished"


def test_a_fault_of_the_task_is_found_before_there_is_a_folder(tmp_path):
    with pytest.raises(TaskError, match="the task's fine_tune returned nothing"):
        run_search(failing(lambda *_: None), out=tmp_path / "run", trials=3)
    assert not (tmp_path / "run").exists()


def test_the_command_exits_with_1_where_all_trials_failed_and_with_2_where_data_are_at_fault(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(
        "import torch\nfrom torch import nn\nfrom espalier import Task\n"
        "x = torch.randn(64, 6)\nlabels = ['cat'] * 64\ny = (x.sum(1) > 0).long()\n"
        "def tune(model, task, samples, generator):\n"
        "    if model[0].out_features < 32:\n        raise RuntimeError('no such layer')\n    return model\n"
        "def network():\n    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 2)).eval()\n"
        "net = network()\n"
        "same = dict(name='t', model=lambda: net, example_input=x[:1], validation=(x, y), fine_tune=tune)\n"
        "failing = Task(train=(x, y), **same)\nnamed = Task(train=(x, labels), **same)\n"
    )
    out = ["--device", "cortex-m4", "--trials", "3", "--samples", "32", "--out"]
    assert main(["search", f"{path}:failing", *out, str(tmp_path / "a")]) == 1
    assert "most often" in capsys.readouterr().err
    assert main(["search", f"{path}:named", *out, str(tmp_path / "b")]) == 2
    assert "its targets are text ('cat')" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
