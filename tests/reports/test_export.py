"""Export, load and verify on a real run."""

from __future__ import annotations

import dataclasses
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from espalier.errors import EvaluationError, InputError
from espalier.evaluators.hardware.device import load_device
from espalier.evaluators.onnx.onnx_network import deploy
from espalier.evaluators.task.task_loading import load_task
from espalier.reports import export_files
from espalier.reports.export import export
from espalier.reports.load import load
from espalier.reports.manifest import Manifest, digest
from espalier.reports.parity import Parity
from espalier.reports.remeasure import counted
from espalier.reports.verify import verify
from espalier.search.run_folder import open_run


@pytest.fixture
def task(tiny_task):
    return load_task(tiny_task)


@pytest.fixture
def copy(tiny_export, tmp_path):
    """An export that a test may alter."""
    return Path(shutil.copytree(tiny_export, tmp_path / "copy"))


def with_manifest(folder: Path, **changes) -> Path:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


def scratch(folder: Path) -> list[Path]:
    return [path for path in folder.parent.iterdir() if path.name.endswith(".tmp")]


def test_an_export_holds_every_file_and_its_digest(tiny_export):
    names = {path.name for path in tiny_export.iterdir()}
    assert names == {
        "README.md", "manifest.json", "model.onnx", "model.pt2", "policy.json", "rankings.json", "weights.safetensors",
    }  # fmt: skip
    manifest = Manifest.read(tiny_export)
    assert manifest.files.keys() == names - {"manifest.json"}
    for name, entry in manifest.files.items():
        assert entry == {"sha256": digest(tiny_export / name), "bytes": (tiny_export / name).stat().st_size}
    assert scratch(tiny_export) == []


def test_the_manifest_claims_the_run_and_adds_what_was_measured(tiny_run, tiny_export):
    manifest, run = Manifest.read(tiny_export), open_run(tiny_run)
    chosen = run.pick("knee")
    assert manifest.trial == chosen.trial
    assert dict(manifest.claimed) == dict(chosen.metrics)
    assert manifest.claimed_by == "run"
    assert dict(manifest.dense) == dict(run.dense.metrics)
    for name in ("accuracy", "test_accuracy"):
        assert manifest.measured[name] == pytest.approx(chosen.metrics[name], abs=1 / 300 + 1e-3)
    for name in ("size_bytes", "macs", "params", "peak_memory_bytes"):
        assert manifest.measured[name] == chosen.metrics[name]
    assert manifest.measured["latency_ms"] > 0
    assert manifest.command.startswith(f"espalier export {tiny_run} --pick knee")


def test_the_exported_programs_compute_what_the_loaded_network_computes(tiny_export, task):
    import onnxruntime

    model = load(tiny_export, task=task)
    x = task.validation[0][:1]
    expected = model(x).detach().numpy()
    session = onnxruntime.InferenceSession(str(tiny_export / "model.onnx"), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"input": x.numpy()})[0], expected, rtol=1e-4, atol=1e-5)
    program = torch.export.load(str(tiny_export / "model.pt2")).module()
    np.testing.assert_allclose(program(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_load_rebuilds_the_pruned_network_with_its_accuracy(tiny_export, task):
    model, manifest = load(tiny_export, task=task), Manifest.read(tiny_export)
    assert not model.training
    assert sum(p.numel() for p in model.parameters()) == manifest.claimed["params"]
    x, y = task.validation
    accuracy = float((model(x).argmax(1) == y).double().mean())
    assert accuracy == pytest.approx(manifest.claimed["accuracy"], abs=1 / 300)


def test_load_takes_the_dense_network_or_the_task(tiny_export, task):
    x = task.validation[0]
    expected = load(tiny_export, trust=True)(x)
    dense = task.model()
    before = {name: tensor.clone() for name, tensor in dense.state_dict().items()}
    torch.testing.assert_close(load(tiny_export, model=dense)(x), expected)
    torch.testing.assert_close(load(tiny_export, task=task)(x), expected)
    assert all(torch.equal(before[name], tensor) for name, tensor in dense.state_dict().items())


def test_load_unpickles_nothing(tiny_export, task, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("something was unpickled")

    dense = task.model()
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    load(tiny_export, model=dense)


def test_load_names_the_difference(tiny_export, copy):
    with pytest.raises(InputError, match="fingerprint"):
        load(tiny_export, model=torch.nn.Linear(8, 3))
    (copy / "weights.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"weights\.safetensors cannot be read"):
        load(copy, trust=True)
    with pytest.raises(InputError, match="Python object"):
        load(with_manifest(copy, task_reference=None), trust=True)


def test_load_refuses_weights_of_another_network(tiny_run, copy):
    run = open_run(tiny_run)
    manifest = Manifest.read(copy)
    other = next(c for c in run.front.configurations if c.metrics["params"] != manifest.claimed["params"])
    shutil.copy(run.weights_path(other.trial), copy / "weights.safetensors")
    with pytest.raises(InputError, match="do not fit"):
        load(copy, trust=True)


@pytest.mark.timed
def test_verify_reproduces_the_latency_that_was_claimed(tiny_export):
    found = verify(tiny_export, trust=True)
    assert found.passed, [check for check in found.checks if not check.passed]


def test_verify_passes_on_an_export(tiny_export):
    found = verify(tiny_export, trust=True)
    # Beside other tests a latency is not what it is alone: that it is reproduced is told by the test below.
    assert {check.name for check in found.checks if not check.passed} <= {"latency_ms"}
    names = [check.name for check in found.checks]
    for name in ("accuracy", "test_accuracy", "latency_ms", "size_bytes", "macs", "params", "file model.onnx"):
        assert name in names
    assert sum(name.startswith("parity") for name in names) == 2
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("name", ["model.onnx", "model.pt2", "weights.safetensors", "policy.json", "README.md"])
def test_verify_fails_on_an_altered_or_missing_file(name, copy):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    assert [check.name for check in verify(copy).checks if not check.passed] == [f"file {name}"]
    (copy / name).unlink()
    failed = [check for check in verify(copy).checks if not check.passed]
    assert [(check.name, check.note) for check in failed] == [(f"file {name}", "the file is missing")]


def test_verify_fails_on_a_file_that_the_manifest_does_not_list(copy):
    files = {name: entry for name, entry in Manifest.read(copy).files.items() if name != "model.onnx"}
    failed = [check for check in verify(with_manifest(copy, files=files)).checks if not check.passed]
    assert [check.name for check in failed] == ["file model.onnx"]


@pytest.mark.parametrize(
    ("metric", "wrong"),
    [
        ("accuracy", lambda v: v - 0.02),
        ("test_accuracy", lambda v: v - 0.02),
        ("params", lambda v: v - 1),
        ("size_bytes", lambda v: v - 4),
        ("latency_ms", lambda v: v / 10),
    ],
)
def test_verify_fails_on_a_false_claim(metric, wrong, copy):
    claimed = dict(Manifest.read(copy).claimed)
    claimed[metric] = wrong(claimed[metric])
    found = verify(with_manifest(copy, claimed=claimed), trust=True)
    assert [check.name for check in found.checks if not check.passed] == [metric]


def test_verify_fails_where_the_onnx_file_is_of_another_network(tiny_run, copy, task):
    """Even with matching digests: the network in the file computes something else."""
    run = open_run(tiny_run)
    other = export(run, "most-accurate", copy.with_name("other"), formats=("onnx",), fine_tune_epochs=1)
    shutil.copy(other / "model.onnx", copy / "model.onnx")
    files = dict(Manifest.read(copy).files) | {"model.onnx": Manifest.read(other).files["model.onnx"]}
    failed = [check.name for check in verify(with_manifest(copy, files=files), task=task).checks if not check.passed]
    assert "parity of onnx with PyTorch" in failed


def test_formats_and_constraints(tiny_run, tmp_path, failed_checks):
    run = open_run(tiny_run)
    bound = sorted(c.metrics["params"] for c in run.front.configurations)[1]
    out = export(run, "most-accurate", tmp_path / "few", formats=("safetensors",), constraints=[f"params<={bound}"])
    assert {path.name for path in out.iterdir()} == {
        "README.md", "manifest.json", "policy.json", "rankings.json", "weights.safetensors",
    }  # fmt: skip
    manifest = Manifest.read(out)
    assert manifest.claimed["params"] <= bound
    assert manifest.parity == {}
    assert "onnxruntime" not in (out / "README.md").read_text()
    assert not failed_checks(verify(out, trust=True))


def test_fine_tuning_further_claims_what_was_measured(tiny_run, tmp_path, failed_checks):
    out = export(open_run(tiny_run), "smallest", tmp_path / "tuned", formats=("onnx",), fine_tune_epochs=2)
    manifest = Manifest.read(out)
    assert (manifest.claimed_by, manifest.fine_tune_epochs) == ("export", 2)
    assert manifest.claimed == manifest.measured
    plain = load(export(open_run(tiny_run), "smallest", tmp_path / "plain", formats=()), trust=True)
    tuned = load(out, trust=True)
    assert any(not torch.equal(a, b) for a, b in zip(plain.parameters(), tuned.parameters(), strict=True))
    assert not failed_checks(verify(out, trust=True))


def test_what_is_refused(tiny_run, tiny_export, tmp_path):
    run = open_run(tiny_run)
    with pytest.raises(InputError, match="exists already"):
        export(run, "knee", tiny_export)
    with pytest.raises(InputError, match="'onnx'"):
        export(run, "knee", tmp_path / "a", formats=("onxx",))
    with pytest.raises(InputError, match="-1 epochs"):
        export(run, "knee", tmp_path / "a", fine_tune_epochs=-1)
    with pytest.raises(InputError, match="front is empty"):
        export(run, "knee", tmp_path / "a", constraints=["params<=1"])
    assert not (tmp_path / "a").exists()
    (tmp_path / "empty").mkdir()
    assert export(run, "knee", tmp_path / "empty", formats=()) == tmp_path / "empty"


def test_a_failure_leaves_no_half_export(tiny_run, tmp_path, monkeypatch):
    out = tmp_path / "half"
    monkeypatch.setattr(export_files, "parities", lambda *_, **__: {"onnx": Parity(1.0, 0.5, 16, 16)})
    with pytest.raises(EvaluationError, match="differs from PyTorch"):
        export(open_run(tiny_run), "knee", out)
    assert not out.exists()
    assert scratch(out) == []


def test_a_device_out_of_reach_is_predicted_again(tiny_task, tmp_path):
    from espalier.search.run_search import run_search

    run = run_search(tiny_task, device="cortex-m4", out=tmp_path / "run", trials=3, samples=64, threads=1)
    out = export(run, "fastest", tmp_path / "small", formats=("onnx",))
    assert Manifest.read(out).latency_source == "roofline"
    found = verify(out, trust=True)
    assert found.passed, [check for check in found.checks if not check.passed]
    assert "predicted" in next(check.note for check in found.checks if check.name == "latency_ms")


def test_counts_come_from_the_device(task):
    host = counted(deploy(task.model(), task, "fp32"), task.example_input, load_device("host"), threads=1)
    assert host["params"] == 8 * 32 + 32 + 2 * 32 + 32 * 32 + 32 + 32 * 3 + 3
    assert host["size_bytes"] == 4 * host["params"]


def test_other_data_is_refused_and_seen(tiny_run, tiny_export, task, tmp_path):
    x, y = task.validation
    other = dataclasses.replace(task, validation=(x + 1, y))
    with pytest.raises(InputError, match="the data of task 'clouds'"):
        export(open_run(tiny_run), "knee", tmp_path / "a", task=other)
    failed = [check.name for check in verify(tiny_export, task=other).checks if not check.passed]
    assert "data fingerprint" in failed
