"""What cannot be exported is found before a search, and told on one screen."""

from __future__ import annotations

import espalier_test_varying as v  # conftest.py makes it importable
import pytest
import torch
from torch import nn

from espalier import Task, run_search
from espalier.errors import InputError
from espalier.evaluators.onnx.export_check import check_export, try_export


def task_of(build, width: int) -> Task:
    x = torch.randn(40, width, generator=torch.Generator().manual_seed(3))
    y = torch.arange(40) % 2
    model = v.made(build)
    return Task(name="tried", model=lambda: model, example_input=x[:1], train=(x, y), validation=(x, y))


def test_a_network_that_can_be_exported_passes_with_what_varies():
    data = v.Batched([v.padded(4, n) for n in (6, 9)], 4)
    model = v.made(v.Text)
    task = Task(name="text", model=lambda: model, example_input=v.padded(1, 6), train=data, validation=data)
    found = try_export(model, task)
    assert found.passed
    assert found.words == "ok, for any batch and length"


def test_an_operator_without_onnx_form_is_named_with_its_layer(capfd):
    task = task_of(lambda: nn.Sequential(nn.Linear(16, 16), nn.Sequential(nn.ReLU(), v.Eigenvalues())), 16)
    with pytest.raises(InputError, match=r"linalg_eigvals has no ONNX form in layer '1\.1' \(Eigenvalues\)") as error:
        check_export(task.model(), task)
    assert "--no-export-check" in str(error.value)
    assert len(str(error.value)) < 1000
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("build", "place"), [(v.Branches, "varying.py"), (v.NumPy, "varying.py")])
def test_a_graph_that_computes_something_else_is_told_by_output_and_place(build, place):
    task = task_of(build, 8)
    with pytest.raises(InputError, match="computes something else than PyTorch") as error:
        check_export(task.model(), task)
    assert "output output differs from PyTorch by" in str(error.value)
    if build is v.Branches:
        assert place in str(error.value)


def test_a_search_refuses_before_anything_is_written(tmp_path):
    task = task_of(v.Branches, 8)
    with pytest.raises(InputError, match="cannot be exported"):
        run_search(task, out=tmp_path / "run", trials=2)
    assert not (tmp_path / "run").exists()


def test_a_search_goes_on_where_that_is_asked_for(tmp_path):
    task = task_of(v.Branches, 8)
    run = run_search(task, out=tmp_path / "run", trials=1, samples=8, export_check=False, device="raspberry-pi-4")
    assert run.front.configurations
