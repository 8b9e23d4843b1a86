"""Registries, and what other packages bring to them by entry points: real ones, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from espalier.errors import UnknownNameError
from espalier.registry import Registry

THEIRS = """
import optuna
from espalier.evaluators.hardware.estimate import COST_MODELS
from espalier.evaluators.hardware.runtimes import RUNTIMES
from espalier.evaluators.task.metrics import METRICS
from espalier.evaluators.training.optimizers import OPTIMIZERS
from espalier.evaluators.training.schedules import SCHEDULES
from espalier.search.executors import InProcessExecutor
from espalier.spaces.importance.criteria import CRITERIA
from espalier.spaces.pruning_types import PRUNING_TYPES


class Loud:
    needs = frozenset()

    def applies(self, group, statistics):
        return True

    def scores(self, group, statistics):
        return -CRITERIA.get("l1").scores(group, statistics)


criterion, pruning_type, metric = Loud(), PRUNING_TYPES.get("channel"), METRICS.get("accuracy")
optimizer, schedule = OPTIMIZERS.get("sgd"), SCHEDULES.get(SCHEDULES.names()[0])
cost_model, runtime, executor = COST_MODELS.get("roofline"), RUNTIMES._entries["torch"], InProcessExecutor


def sampler(seed):
    return optuna.samplers.RandomSampler(seed=seed)
"""
GROUPS = {
    "criteria": "criterion", "pruning_types": "pruning_type", "metrics": "metric", "optimizers": "optimizer",
    "schedules": "schedule", "cost_models": "cost_model", "runtimes": "runtime", "executors": "executor",
    "samplers": "sampler",
}  # fmt: skip
USES = """
from espalier import run_search, trace, rank
from espalier.evaluators.hardware.estimate import COST_MODELS
from espalier.evaluators.hardware.runtimes import RUNTIMES, runtime_called
from espalier.evaluators.task.metrics import METRICS
from espalier.evaluators.training.optimizers import OPTIMIZERS
from espalier.evaluators.training.schedules import SCHEDULES
from espalier.search.executors import EXECUTORS
from espalier.search.options import SearchOptions
from espalier.search.samplers import SAMPLERS
from espalier.spaces.importance.criteria import CRITERIA
from espalier.spaces.pruning_types import PRUNING_TYPES

for registry in (CRITERIA, PRUNING_TYPES, METRICS, OPTIMIZERS, SCHEDULES, COST_MODELS, EXECUTORS, SAMPLERS):
    assert "theirs" in registry and "theirs" in registry.names(), registry
    assert registry.get("theirs") is not None and len(registry) == len(set(registry)), registry
assert runtime_called("theirs").name == "torch"

import torch
from torch import nn
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
graph = trace(model, torch.zeros(1, 4))
ranked = rank(model, graph, ["l1", "theirs"])
assert ranked.of("theirs", "0") == tuple(reversed(ranked.of("l1", "0")))

from espalier.search.run_search import search_problem
from espalier.testing.analytic import analytic_problem
options = SearchOptions(task="t", trials=6, sampler="theirs", executor="theirs", threads=1)
run = search_problem(analytic_problem(8, 8), options, __import__("pathlib").Path("run"))
assert sum(trial.state == "complete" for trial in run.trials) == 6
print("all of theirs are used")
"""


def package(folder: Path, entries: dict[str, str], module: str = THEIRS) -> dict[str, str]:
    """Write a package that is installed with such entry points, and return the environment that finds it."""
    (folder / "their_package.py").write_text(module, encoding="utf-8")
    info = folder / "their_package-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n", encoding="utf-8")
    points = "\n".join(f"[espalier.{group}]\ntheirs = {value}\n" for group, value in entries.items())
    (info / "entry_points.txt").write_text(points, encoding="utf-8")
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def run(code: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_another_package_adds_one_of_each(tmp_path: Path) -> None:
    environment = package(tmp_path, {group: f"their_package:{name}" for group, name in GROUPS.items()})
    done = run(USES, tmp_path, environment)
    assert done.stdout.strip() == "all of theirs are used", done.stderr[-2000:]


def test_one_that_cannot_be_imported_is_named_when_it_is_asked_for_and_only_then(tmp_path: Path) -> None:
    environment = package(tmp_path, {"criteria": "their_package:gone"}, module="import nothing_of_the_kind")
    code = """
    from espalier.errors import InputError
    from espalier.spaces.importance.criteria import CRITERIA
    assert "theirs" in CRITERIA.names() and CRITERIA.get("l1") is not None
    try:
        CRITERIA.get("theirs")
    except InputError as error:
        print(error)
    """
    done = run(code, tmp_path, environment)
    assert "criterion 'theirs' of the package their-package cannot be loaded" in done.stdout, done.stderr[-2000:]
    assert "nothing_of_the_kind" in done.stdout


def test_a_name_is_taken_once_and_near_names_are_suggested() -> None:
    registry: Registry[int] = Registry("thing")
    assert registry.add("first", 1) == 1
    with pytest.raises(ValueError, match="thing 'first' is registered already as 1"):
        registry.add("first", 2)
    with pytest.raises(UnknownNameError, match="Did you mean 'first'"):
        registry.get("frist")
    assert (registry.names(), len(registry), "first" in registry, list(registry)) == (("first",), 1, True, ["first"])
