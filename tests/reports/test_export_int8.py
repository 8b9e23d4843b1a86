"""A search over fp32 and int8 from end to end, and the int8 export that comes of it."""

from __future__ import annotations

import io
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file

from espalier.evaluators.hardware.device import load_device
from espalier.evaluators.onnx.int8_check import check_products
from espalier.evaluators.task.task_loading import load_task
from espalier.reports.export import export
from espalier.reports.html_report import render_report
from espalier.reports.load import load
from espalier.reports.sections.choice import choice
from espalier.reports.verify import verify
from espalier.search.progress import PlainProgress
from espalier.search.run_folder import open_run
from espalier.search.run_search import run_search


@pytest.fixture(scope="module")
def mixed_run(tiny_task, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed") / "run"
    objectives = "accuracy,size_bytes,latency_ms"
    return run_search(
        tiny_task, out=folder, trials=8, samples=600, threads=1, precision="fp32,int8", objectives=objectives
    )


@pytest.fixture(scope="module")
def member(mixed_run):
    """An int8 member of the front; int8 gives the smallest networks, whatever the latencies are."""
    return next(c for c in mixed_run.front.configurations if c.policy.precision == "int8")


@pytest.fixture(scope="module")
def exported(mixed_run, member, tmp_path_factory):
    return export(mixed_run, member.trial, tmp_path_factory.mktemp("int8") / "out")


def test_both_precisions_are_tried_and_told_apart(mixed_run) -> None:
    origins = [str(trial.origin) for trial in mixed_run.trials]
    assert origins[:4] == ["dense", "dense int8", "path 1", "path 1 int8"]
    by_origin = {str(t.origin): t.configuration for t in mixed_run.trials}
    fp32, int8 = by_origin["path 1"], by_origin["path 1 int8"]
    assert fp32.policy.choices == int8.policy.choices
    assert int8.metrics["size_bytes"] < 0.5 * fp32.metrics["size_bytes"]
    assert int8.metrics["peak_memory_bytes"] == fp32.metrics["peak_memory_bytes"] / 4
    stored = json.loads((mixed_run.path / f"policies/{int8.trial}.json").read_text())
    assert stored["precision"] == "int8"
    assert mixed_run.info.quantisation["samples"] == 256
    assert open_run(mixed_run.path).info.quantisation == mixed_run.info.quantisation


def test_weights_of_an_int8_trial_are_fp32(mixed_run, member) -> None:
    weights = load_file(mixed_run.weights_path(member.trial))
    assert {t.dtype for t in weights.values() if t.is_floating_point()} == {torch.float32}


def test_the_claims_are_of_the_int8_file(exported, mixed_run, member, tiny_task) -> None:
    manifest = json.loads((exported / "manifest.json").read_text())
    assert (manifest["precision"], manifest["claims_of"]) == ("int8", "model.int8.onnx")
    assert manifest["claimed_by"] == "run"
    assert manifest["int8"]["sha256"] == mixed_run.finished[member.trial].int8_sha256
    assert manifest["int8"]["sha256"] == manifest["files"]["model.int8.onnx"]["sha256"]
    x, y = load_task(tiny_task).test
    session = onnxruntime.InferenceSession(exported / "model.int8.onnx", providers=["CPUExecutionProvider"])
    right = [session.run(None, {"input": x[i : i + 1].numpy()})[0].argmax() == int(y[i]) for i in range(len(x))]
    assert manifest["claimed"]["test_accuracy"] == pytest.approx(np.mean(right), abs=1e-9)
    assert manifest["measured"]["test_accuracy"] == manifest["claimed"]["test_accuracy"]
    fp32 = onnxruntime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = load(exported, trust=True)(x[:1]).numpy()
    np.testing.assert_allclose(fp32.run(None, {"input": x[:1].numpy()})[0], expected, atol=1e-4)


def test_verify_measures_the_int8_file_and_reports_its_agreement(exported) -> None:
    found = {check.name: check for check in verify(exported, trust=True).checks}
    assert all(check.passed for check in found.values() if check.name != "latency_ms")
    assert found["parity of onnx with PyTorch"].tolerance == 1e-4
    assert found["agreement of int8 with fp32"].found.endswith("%")
    assert found["int8 file quantised again"].found == found["int8 file quantised again"].claimed
    card = (exported / "README.md").read_text()
    assert "are of `model.int8.onnx`, at int8" in card
    assert 'InferenceSession("model.int8.onnx"' in card


def test_an_int8_file_of_other_weights_fails(exported, mixed_run, member, tmp_path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in exported.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "model.int8.onnx").write_bytes((exported / "model.onnx").read_bytes())
    failed = {check.name for check in verify(copy).checks if not check.passed}
    assert failed == {"file model.int8.onnx"}


def test_claims_of_a_file_that_cannot_be_made_again_are_the_exports_own(mixed_run, member, tmp_path) -> None:
    path = mixed_run.weights_path(member.trial)
    before = path.read_bytes()
    tensors = load_file(path)
    name = next(n for n, t in tensors.items() if t.dim() == 2)
    tensors[name] = tensors[name] * 1.01
    try:
        save_file(tensors, path)
        folder = export(mixed_run, member.trial, tmp_path / "out", formats=("safetensors",))
    finally:
        path.write_bytes(before)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["claimed_by"] == "export"
    assert (folder / "model.int8.onnx").exists()
    assert not (folder / "model.onnx").exists()


@pytest.mark.timed  # whether fp32 is on the front depends on latencies
def test_an_fp32_member_claims_as_before(mixed_run, tmp_path) -> None:
    trial = next(c.trial for c in mixed_run.front.configurations if c.policy.precision == "fp32")
    manifest = json.loads((export(mixed_run, trial, tmp_path / "out", formats=("onnx",)) / "manifest.json").read_text())
    assert (manifest["claims_of"], manifest["int8"]) == ("model.onnx", None)


@pytest.mark.timed
def test_the_report_tells_precisions(mixed_run, member, known_run, tmp_path) -> None:
    found = choice(mixed_run)
    assert {row["precision"] for row in found["rows"]} == {"fp32", "int8"}
    point = next(p for p in found["points"] if p["trial"] == member.trial)
    assert "Precision: int8" in point["lines"]
    assert all(row["precision"] == "" for row in choice(known_run)["rows"])
    page = render_report(mixed_run, tmp_path / "report.html").read_text()
    assert "int8" in page


def test_the_export_says_where_its_products_are_right(exported, mixed_run) -> None:
    manifest = json.loads((exported / "manifest.json").read_text())
    recipe, products = manifest["int8"]["recipe"], manifest["int8"]["products"]
    assert (recipe["scheme"], recipe["right_on"]) == ("u8s7", "every processor")
    assert mixed_run.info.quantisation == recipe
    assert products["passed"]
    assert products["compared"] == 3
    assert json.loads((mixed_run.path / "run.json").read_text())["processor"]["architecture"]
    assert "cannot saturate: it computes the same on every processor" in (exported / "README.md").read_text()
    found = {check.name: check for check in verify(exported, trust=True).checks}["int8 products on this processor"]
    assert found.passed
    assert found.note.startswith(f"all {products['compared']} int8 products come out right")
    stamp = {p.key: p.value for p in onnx.load(exported / "model.int8.onnx").metadata_props}
    assert stamp["espalier.right_on"] == "every processor"


@pytest.fixture(scope="module")
def full_range_run(tiny_task, tmp_path_factory):
    """A search for a machine that is said to have VNNI, whatever this one has; and what it said."""
    folder = tmp_path_factory.mktemp("full-range")
    stated = {"int8_scheme": "u8s8", "int8_scheme_source": "a processor with VNNI"}
    device = load_device("host").model_copy(update=stated)
    (folder / "mine.yaml").write_text(device.to_yaml())
    said = io.StringIO()
    run = run_search(
        tiny_task,
        out=folder / "run",
        device=str(folder / "mine.yaml"),
        trials=2,
        samples=200,
        threads=1,
        precision="int8",
        objectives="accuracy,size_bytes",
        progress=PlainProgress(said),
    )
    return run, said.getvalue()


def test_a_file_of_some_processors_is_stamped_and_told_where_it_saturates(full_range_run, tiny_task, tmp_path) -> None:
    run, said = full_range_run
    trial = next(c.trial for c in run.front.configurations)
    folder = export(run, trial, tmp_path / "out", formats=("onnx",))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["int8"]["recipe"]["scheme"] == run.info.quantisation["scheme"] == "u8s8"
    card = (folder / "README.md").read_text()
    assert "right on x86 with VNNI" in card
    assert "not x86 without VNNI" in card
    verified = verify(folder, task=load_task(tiny_task))
    found = {check.name: check for check in verified.checks}["int8 products on this processor"]
    # What this processor does decides what must be said, not what it is called.
    task = load_task(tiny_task)
    feeds = [{"input": task.train[0][i : i + 1].numpy()} for i in range(16)]
    right = check_products((folder / "model.int8.onnx").read_bytes(), feeds).passed
    assert found.passed == right == manifest["int8"]["products"]["passed"]
    assert ("come out wrong on this processor" in said) == (not right)
    assert ("come out wrong on this processor" in found.note) == (not right)
    assert ("come out wrong" in (run.path / "log.jsonl").read_text()) == (not right)
    # Claims are those of the processors it is stamped for, here as there.
    scores = {check.name: check for check in verified.checks if "accuracy" in check.name}
    assert scores
    assert all(check.passed and check.found == pytest.approx(check.claimed, abs=1e-9) for check in scores.values())


def test_a_file_for_a_board_is_verified_anywhere(tiny_task, tmp_path) -> None:
    options = {"trials": 2, "samples": 200, "threads": 1, "precision": "int8", "objectives": "accuracy,size_bytes"}
    run = run_search(tiny_task, out=tmp_path / "run", device="cortex-m7", **options)
    folder = export(run, run.front.configurations[0].trial, tmp_path / "out", formats=("onnx",))
    verified = verify(folder, trust=True)
    found = {check.name: check for check in verified.checks}["int8 products on this processor"]
    assert verified.passed
    assert found.passed
    assert "the file is right on" in found.note
    assert run.info.quantisation["scheme"] == "u8s8"
