"""No file that a run and an export write holds a sample of the data, and nothing is sent that does."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from espalier import Task, run_search
from espalier.cli.main import main
from espalier.evaluators.hardware.remote.kit import pack_kit
from espalier.evaluators.task.own_elements import dumps, own_elements, shares_more, stand_in
from espalier.reports.export import export
from espalier.reports.verify import verify

SHAPE = (3, 8, 8)


def images(count, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    x = torch.randn(count, *SHAPE, generator=generator)
    return x + 2 * torch.eye(3)[labels][:, :, None, None], labels


class Holding(nn.Module):
    """A network whose buffers and constants are slices of larger tensors, of which it needs no more."""

    def __init__(self, x) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 16, 3)
        self.second = nn.Conv2d(16, 16, 3)
        self.last = nn.Linear(16, 3)
        means = torch.stack([*x.mean((0, 2, 3)), *x.reshape(-1)])
        self.register_buffer("mean", means[:3].view(3, 1, 1))
        self.register_buffer("scale", x.new_ones(len(means))[:1], persistent=False)

    def forward(self, x):
        x = (x - self.mean) * self.scale
        return self.last(self.second(self.first(x).relu()).relu().mean((2, 3)))


@pytest.fixture(scope="module")
def train():
    return images(200, 1)


@pytest.fixture(scope="module")
def task(train):
    x, _ = train
    return Task(
        name="private",
        model=lambda: Holding(x).eval(),
        example_input=x[:1],  # as the README shows it: its storage is that of all images
        train=train,
        validation=images(60, 2),
        test=images(60, 3),
        batch_size=32,
    )


def leaked(files, x) -> set[str]:
    """Return the files that hold a sample of ``x``, byte for byte."""
    wanted = [row.contiguous().numpy().tobytes() for row in x]
    parts = [row[0, 0].contiguous().numpy().tobytes() for row in x]  # a line of eight pixels
    found = set()
    for path in files:
        content = _unpacked(path)
        if any(one in content for one in (*wanted, *parts)):
            found.add(path.name)
    return found


def _unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    if not zipfile.is_zipfile(path):
        return content
    with zipfile.ZipFile(path) as archive:
        inside = [archive.read(name) for name in archive.namelist()]
    for each in inside:
        if zipfile.is_zipfile(io.BytesIO(each)):
            with zipfile.ZipFile(io.BytesIO(each)) as nested:
                inside += [nested.read(name) for name in nested.namelist()]
    return b"".join([content, *inside])


def test_no_file_of_a_run_an_export_and_a_kit_holds_a_sample(task, train, tmp_path):
    run = run_search(task, out=tmp_path / "run", trials=3, samples=32, threads=1)
    assert main(["report", str(run.path)]) == 0
    out = export(run, "most-accurate", tmp_path / "out", task=task)
    pack_kit(task.model(), task.example_input, tmp_path / "kit.zip", networks=2)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"model.pt2", "model.onnx", "weights.safetensors", "study.journal", "report.html", "log.jsonl"} <= names
    for data in (train, task.validation, task.test):
        assert leaked(files, data[0]) == set()
    text = "".join(path.read_text(errors="replace") for path in files if path.suffix in (".json", ".jsonl", ".journal"))
    assert not any(repr(float(value)) in text for value in train[0][:, 0, 0, 0])
    assert (out / "model.pt2").stat().st_size < 4 * (out / "model.onnx").stat().st_size + 40_000
    assert b"test_privacy.py" not in (out / "model.pt2").read_bytes()
    found = verify(out, task=task)
    assert found.passed, [check for check in found.checks if not check.passed]


def test_the_search_for_samples_finds_them(train, tmp_path):
    x, _ = train
    torch.save(x[:1], tmp_path / "whole.pt")
    torch.save(x[:1].clone(), tmp_path / "one.pt")
    np.savez_compressed(tmp_path / "packed.npz", x=x[5:6].numpy())
    (tmp_path / "clean.json").write_text(json.dumps({"a": 1}))
    assert leaked(tmp_path.iterdir(), x) == {"whole.pt", "one.pt", "packed.npz"}
    assert leaked(tmp_path.iterdir(), x[100:]) == {"whole.pt"}


def test_what_goes_to_a_worker_holds_its_own_elements_only():
    whole = torch.arange(100_000.0)
    part, weight = whole[:10], nn.Parameter(whole[50:60])
    sent = dumps({"part": part, "again": part, "weight": weight, "of": lambda: part.sum()})
    assert len(sent) < 6_000
    found = pickle.loads(sent)
    assert torch.equal(found["part"], part)
    assert found["again"] is found["part"]
    assert isinstance(found["weight"], nn.Parameter)
    assert torch.equal(found["weight"], weight)
    assert found["of"]() == part.sum()


@pytest.mark.parametrize(
    ("make", "more"),
    [
        (lambda t: t, False), (lambda t: t[:2], True), (lambda t: t[:, 1], True), (lambda t: t[:2].clone(), False),
        (lambda t: t.t(), False), (lambda t: t[:0], True), (lambda t: t[0, 0], True), (lambda t: t.to_sparse(), False),
    ],
)  # fmt: skip
def test_whether_a_tensor_shares_more_than_its_elements(make, more):
    tensor = make(torch.randn(4, 5))
    assert shares_more(tensor) is more
    own = own_elements(tensor)
    assert not shares_more(own) or own.numel() == 0
    assert (own is tensor) is not more


def test_a_stand_in_has_the_range_and_not_the_values():
    x = torch.linspace(-2, 3, 96).view(1, 3, 4, 8)
    ids, mask = torch.tensor([[17, 4, 0]]), torch.tensor([[1, 1, 0]])
    found = stand_in({"x": x, "ids": ids, "mask": mask, "on": torch.tensor([True, False])})
    assert found["x"].shape == x.shape
    assert -2 <= float(found["x"].min()) < float(found["x"].max()) <= 3
    assert not (found["x"] == x).any()
    assert found["ids"].tolist() == [[1, 1, 0]]
    assert torch.equal(found["mask"], mask)
    assert found["on"].tolist() == [True, False]
    assert torch.equal(stand_in(torch.zeros(1, 4)), torch.zeros(1, 4))
