"""Searches among several pruning types: asked for, proposed, carried through to a verified export."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
import yaml
from torch import nn

from espalier.errors import ConstraintError
from espalier.evaluators.hardware import load_device
from espalier.evaluators.task.task import Task
from espalier.reports.export import export
from espalier.reports.load import load
from espalier.reports.verify import verify
from espalier.search.options import SearchOptions
from espalier.search.problem import prepare
from espalier.search.run_search import run_search, search_problem
from espalier.search.starting_points import Known, starting_points
from espalier.spaces import Group, SearchSpace
from espalier.spaces.graph.groups import Weight
from espalier.testing.analytic import analytic_graph, analytic_problem

TYPES = ("channel", "nm", "weight")


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten()
        return nn.Sequential(*layers, nn.Linear(512, 24), nn.ReLU(), nn.Linear(24, 4)).eval()


@pytest.fixture
def task() -> Task:
    x = torch.randn(96, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    y = x.mean((1, 2, 3)).mul(20).long().clamp(-1, 2) + 1
    return Task(
        name="means", model=network, example_input=x[:1], train=(x, y), validation=(x, y), test=(x, y), batch_size=32
    )


def weighted_problem(types: tuple[str, ...] = TYPES):
    """Formulas over groups that have weights to zero, too."""
    problem = analytic_problem(16, 16)
    groups = [
        dataclasses.replace(g, weights=(Weight(f"{g.name}.weight", 0, tuple(range(16)), (16, 8)),))
        for g in analytic_graph(16, 16)
    ]
    graph = dataclasses.replace(problem.space.graph, groups=tuple(groups))
    return dataclasses.replace(problem, space=SearchSpace(graph, types=types, channel_multiple=8))


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_every_policy_of_a_small_space_is_found_by_every_sampler(sampler, tmp_path):
    problem = weighted_problem()
    assert problem.space.size == (1 + 1 + 3 + 4) ** 2
    options = SearchOptions(task="analytic", trials=200, types=TYPES, sampler=sampler)
    run = search_problem(problem, options, tmp_path / "run")
    keys = [t.configuration.policy.key for t in run.trials if t.configuration is not None]
    assert len(set(keys)) == problem.space.size


def test_types_that_were_asked_for_are_among_the_starting_points():
    origins = [str(p.origin) for p in starting_points(Known(weighted_problem().space))]
    assert origins[:2] == ["dense", "uniform 0.5"]
    assert {"uniform 4:8 weights", "uniform 1:4 weights", "uniform 50 % of the weights"} <= set(origins)
    channels_alone = [str(p.origin) for p in starting_points(Known(weighted_problem(("channel",)).space))]
    assert not any("weights" in origin for origin in channels_alone)


def test_the_search_offers_no_zeroing_type_unless_asked():
    assert SearchOptions(task="digits").types == ("channel", "block")


def test_a_search_of_all_types_exports_what_verifies(task, tmp_path, failed_checks):
    run = run_search(task, out=tmp_path / "run", trials=16, types=TYPES, threads=1, samples=64, objectives="size")
    taken = {c.type for t in run.trials if t.configuration for c in t.configuration.policy.choices.values()}
    assert taken >= set(TYPES)
    sparse = next(t.configuration for t in run.trials if str(t.origin) == "uniform 1:4 weights")
    assert sparse.metrics["dense_size_bytes"] == run.dense.metrics["size_bytes"]
    assert sparse.metrics["size_bytes"] < 0.5 * sparse.metrics["dense_size_bytes"]
    assert sparse.metrics["params"] == run.dense.metrics["params"]

    out = export(run, "smallest", tmp_path / "out", task=task)
    policy = json.loads((out / "policy.json").read_text())
    assert {"nm", "weight"} & {choice["type"] for choice in policy["choices"].values()}
    found = verify(out, task=task)
    assert not failed_checks(found)
    assert (load(out, task=task)[6].weight == 0).float().mean() > 0.4

    tuned = export(run, "smallest", tmp_path / "tuned", task=task, fine_tune_epochs=1, formats=("onnx",))
    before, after = (load(folder, task=task).state_dict() for folder in (out, tuned))
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert all(bool((after[name][before[name] == 0] == 0).all()) for name in before if name.endswith("6.weight"))


@pytest.mark.slow
def test_a_search_of_zeroing_types_at_int8_exports_what_verifies(task, tmp_path, failed_checks):
    options = {"types": ("nm", "weight"), "precision": "int8", "objectives": "size", "threads": 1, "samples": 64}
    run = run_search(task, out=tmp_path / "run", trials=7, **options)
    sparse = next(t.configuration for t in run.trials if str(t.origin).startswith("uniform 1:4 weights"))
    assert sparse.policy.precision == "int8"
    assert sparse.metrics["size_bytes"] < 0.6 * sparse.metrics["dense_size_bytes"]
    out = export(run, "smallest", tmp_path / "out", task=task)
    found = verify(out, task=task)
    assert not failed_checks(found)


def test_gradients_choose_single_weights_in_a_search_by_taylor(task, tmp_path):
    run = run_search(task, out=tmp_path / "run", trials=3, types="nm", criteria="taylor", threads=1, samples=0)
    assert [t.state for t in run.trials] == ["complete"] * 3
    criteria = {c.criterion for t in run.trials if t.configuration for c in t.configuration.policy.choices.values()}
    assert "hessian" in criteria


def test_flash_holds_zeros_like_any_other_number(task, tmp_path):
    device = yaml.safe_load(load_device("cortex-m4").to_yaml())
    device["limits"]["flash_bytes"] = {"value": 4000, "source": "made up for this test"}
    small = tmp_path / "small.yaml"
    small.write_text(yaml.safe_dump(device))
    limits = [str(c) for c in prepare(task, SearchOptions(task="means", device=str(small), types=TYPES)).limits]
    assert limits[0] == "dense_size_bytes<=4000"
    with pytest.raises(ConstraintError, match=r"dense_size_bytes<=4000 cannot be met"):
        run_search(task, device=str(small), out=tmp_path / "run", types="nm,weight", trials=2, samples=0)
    device |= {"sparse_kernels": {"int8": ["weight", "2:4"]}, "sparse_kernels_source": "made up for this test"}
    small.write_text(yaml.safe_dump(device))
    limits = [str(c) for c in prepare(task, SearchOptions(task="means", device=str(small), types=TYPES)).limits]
    assert limits[0] == "size_bytes<=4000"


def test_groups_without_weights_are_offered_channels_alone():
    space = SearchSpace(dataclasses.replace(analytic_graph(8), groups=(Group("a", 8, (), "exact", 0),)), types=TYPES)
    assert space.offered(space.graph.group("a")) == ("channel",)
    assert space.size == 8
