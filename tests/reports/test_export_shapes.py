"""A text network, padded by batch, from the search to a verified export that takes any batch and length."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from espalier import Task, run_search, verify
from espalier.reports.export import export
from espalier.reports.export_shapes import sizes_in_words


class Reader(nn.Module):
    """Words and their mask, as keywords; a dict of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(12, 16)
        self.first, self.second, self.head = nn.Linear(16, 32), nn.Linear(32, 16), nn.Linear(16, 2)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.second(self.first(self.words(input_ids)).relu()).relu()
        kept = attention_mask[..., None].float()
        return {"logits": self.head((x * kept).sum(1) / kept.sum(1))}


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Reader().eval()


def data(seed: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    words = torch.randint(0, 12, (64, 8), generator=torch.Generator().manual_seed(seed))
    mask = (torch.arange(8) < 4 + torch.arange(64)[:, None] % 5).long()
    return {"input_ids": words * mask, "attention_mask": mask}, (words[:, 0] > 5).long()


def loss(outputs: dict[str, torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(outputs["logits"], targets)


def right(outputs: dict[str, torch.Tensor], targets: torch.Tensor) -> float:
    return float((outputs["logits"].argmax(1) == targets).float().mean())


def task_of(**fields) -> Task:
    return Task(
        name="reader",
        model=network,
        example_input={name: tensor[:1] for name, tensor in data(0)[0].items()},
        train=data(0),
        validation=data(1),
        loss=loss,
        metric=right,
        batch_size=32,
        dynamic={"input_ids": {1: "length"}, "attention_mask": {1: "length"}},
        **fields,
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    task = task_of()
    run = run_search(
        task, out=folder / "run", trials=2, samples=32, threads=1, device="cortex-m7", precision=("int8",),
        objectives=("accuracy", "macs"),
    )  # fmt: skip
    return task, export(run, run.front.configurations[0].trial, folder / "export", task=task)


def test_plain_onnx_runtime_takes_any_batch_and_length(exported):
    _, folder = exported
    for name in ("model.onnx", "model.int8.onnx"):
        session = onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"])
        assert [i.name for i in session.get_inputs()] == ["input_ids", "attention_mask"]
        assert [o.name for o in session.get_outputs()] == ["logits"]
        for batch, length in ((1, 8), (8, 8), (1, 5), (8, 5)):
            feed = {i.name: np.ones((batch, length), np.int64) for i in session.get_inputs()}
            assert np.shape(session.run(None, feed)[0]) == (batch, 2)


def test_what_each_file_takes_is_told_and_verified(exported):
    task, folder = exported
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["shapes"]["model.onnx"]["dynamic"]["input_ids"] == {"0": "batch", "1": "length"}
    assert "batch 8, length 8" in manifest["shapes"]["model.onnx"]["tried"]
    card = (folder / "README.md").read_text()
    assert "`model.onnx` takes any batch and length" in card
    found = verify(folder, task=task)
    assert not [check for check in found.checks if not check.passed and check.name != "latency_ms"]


def test_a_microcontroller_gets_a_twin_of_one_size(exported):
    task, folder = exported
    for name in ("model.fixed.onnx", "model.int8.fixed.onnx"):
        graph = onnx.load(folder / name).graph
        shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in graph.input}
        assert shapes == {"input_ids": [1, 8], "attention_mask": [1, 8]}
        assert "Shape" not in {node.op_type for node in graph.node}
        feed = {name: tensor.numpy() for name, tensor in task.example_input.items()}
        whole = folder / name.replace(".fixed", "")
        outputs = [
            onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feed)[0]
            for path in (folder / name, whole)
        ]
        np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-5)
    assert "`model.fixed.onnx` takes the example's sizes" in (folder / "README.md").read_text()


def test_a_dimension_that_stays_fixed_is_named_with_its_reason():
    shapes = {
        "model.onnx": {"dynamic": {"x": {"0": "batch"}}, "fixed": {"length": "at length 9 it fails"}, "tried": []}
    }
    assert sizes_in_words(shapes) == [
        "`model.onnx` takes any batch.",
        "In `model.onnx` the length is fixed at the example's: at length 9 it fails.",
    ]
