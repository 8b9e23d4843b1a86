"""Searches of real networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from espalier.errors import InputError, TaskError, UnknownNameError
from espalier.evaluators.task.data import batches
from espalier.evaluators.task.task import Task
from espalier.evaluators.task.task_loading import load_task
from espalier.evaluators.task_evaluator import TaskEvaluator
from espalier.evaluators.training.scoring import score
from espalier.search.dry_run import dry_run
from espalier.search.run_search import run_search

TASK_FILE = """
import torch
from torch import nn
from espalier.evaluators.task.task import Task

def network():
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(512, 4)
    return nn.Sequential(*layers).eval()

x = torch.randn(96, 1, 8, 8, generator=torch.Generator().manual_seed(0))
y = x.mean((1, 2, 3)).mul(20).long().clamp(-1, 2) + 1
data = {"train": (x, y), "validation": (x, y), "test": (x, y)}
mine = Task(name="mine", model=network, example_input=x[:1], batch_size=32, **data)
"""


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow  # the built-in task; the test below sends files and objects to two workers with every run
def test_digits_with_two_workers(tmp_path):
    run = run_search("digits", out=tmp_path / "run", trials=5, workers=2, threads=1, samples=128)
    assert [t.state for t in run.trials] == ["complete"] * 5
    front = run.front.configurations
    assert len(front) >= 2
    assert min(c.metrics["latency_ms"] or 0.0 for c in front) < (run.dense.metrics["latency_ms"] or 0.0)
    assert all(c.latency_source == "measured" for c in front)
    assert all(0 < (c.metrics["test_accuracy"] or 0.0) <= 1 for c in front)
    assert all({"prune", "train", "validate", "cost"} <= set(t.seconds) for t in run.trials)
    assert len(run.graph_summary.groups) >= 2
    assert_weights_give_the_accuracy(run, front[0])


def assert_weights_give_the_accuracy(run, configuration):
    from espalier.evaluators.hardware.device import load_device
    from espalier.spaces.graph.trace import trace

    task = load_task(run.info.task_reference)
    graph = trace(task.model(), task.example_input, freeze=task.freeze)
    evaluator = TaskEvaluator(task, graph, run.rankings, load_device("host"), 1)
    model = evaluator.rebuild(configuration.policy, str(run.weights_path(configuration.trial)))
    one_sample = 1 / batches(task.validation, name="validation").samples
    assert score(model, task, task.validation) == pytest.approx(configuration.metrics["accuracy"], abs=one_sample)


def test_a_task_file_and_a_task_object_reach_the_workers(tmp_path):
    file = tmp_path / "tasks.py"
    file.write_text(TASK_FILE)
    run = run_search(
        f"{file}:mine", out=tmp_path / "a", trials=3, workers=2, threads=1, samples=32, criteria="taylor,l1"
    )
    assert [t.state for t in run.trials] == ["complete"] * 3
    assert run.info.task_reference == f"{file}:mine"

    scale = 2.0  # a closure, which plain pickle cannot send
    x = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
    y = (x.sum(1) * scale > 0).long()
    task = Task(
        name="closure",
        model=lambda: nn.Sequential(nn.Linear(6, int(8 * scale)), nn.ReLU(), nn.Linear(16, 2)).eval(),
        example_input=x[:1],
        train=(x, y),
        validation=(x, y),
    )
    run = run_search(task, out=tmp_path / "b", device="cortex-m4", trials=3, workers=2, threads=1, samples=32)
    assert [t.state for t in run.trials] == ["complete"] * 3
    assert run.info.task_reference is None
    assert all(c.latency_source == "roofline" for c in run.front.configurations)


def test_a_dry_run_of_a_task_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tasks.py").write_text(TASK_FILE)
    found = dry_run("tasks.py:mine", trials=4, samples=32)
    assert [g.channels for g in found.groups] == [32, 32]
    assert found.size == 16
    assert found.seconds == pytest.approx(4 * found.evaluation_seconds)
    assert {p.name for p in tmp_path.iterdir()} <= {"tasks.py", "__pycache__"}


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"task": "digit"}, UnknownNameError, "digits"),
        ({"task": "none.py:mine"}, TaskError, "no task file"),
        ({"device": "cortex-m5"}, UnknownNameError, "cortex-m4"),
        ({"criteria": "l3"}, UnknownNameError, "l2"),
        ({"types": "chanel"}, UnknownNameError, "channel"),
        ({"constraints": ["macs<=1"]}, InputError, "macs<=1.* cannot be met; .*most pruned"),
        ({"types": "none"}, InputError, "nothing can be pruned"),
    ],
)
def test_bad_input_creates_no_folder(tmp_path, options, error, words):
    file = tmp_path / "tasks.py"
    file.write_text(TASK_FILE)
    with pytest.raises(error, match=words):
        run_search(**{"task": f"{file}:mine", "out": tmp_path / "run", "trials": 3, "samples": 32, **options})
    assert not (tmp_path / "run").exists()
