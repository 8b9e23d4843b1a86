from __future__ import annotations

import math
import multiprocessing
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from espalier.errors import EvaluationError, UnknownNameError
from espalier.evaluators.hardware import timing_lock as locking
from espalier.evaluators.hardware.device import load_device
from espalier.evaluators.hardware.measured import (
    RUNS_PER_BLOCK,
    MeasuredModel,
    _block_runs,
    _summary,
    _warm_up,
    measure,
    measure_interleaved,
)
from espalier.evaluators.hardware.node_matching import module_name
from espalier.evaluators.hardware.timing_lock import timing_lock
from espalier.evaluators.onnx.onnx_export import export_onnx, onnx_feed
from espalier.examples.cifar10_networks import ResNet8
from espalier.testing.cost_models import chain

IMAGE = torch.zeros(1, 3, 32, 32)


@pytest.mark.timed
def test_a_measurement() -> None:
    start = time.perf_counter()
    measurement = measure(chain(16), IMAGE)
    assert 0.001 < measurement.median_ms < 100
    assert measurement.spread >= 0
    assert measurement.runs >= 15
    assert time.perf_counter() - start < 20


@pytest.mark.timed
def test_a_quarter_of_the_width_is_faster() -> None:
    wide, narrow = measure_interleaved([chain(64), chain(16)], IMAGE, rounds=3)
    assert narrow.median_ms < 0.7 * wide.median_ms


def test_an_unknown_runtime() -> None:
    with pytest.raises(UnknownNameError, match="onnxruntime"):
        measure(chain(8), IMAGE, runtime="onnxruntim")


def test_the_profile_names_the_networks_own_layers() -> None:
    layers = MeasuredModel(load_device("host")).profile(ResNet8().eval(), IMAGE)
    found = {layer.layer: layer for layer in layers if layer.macs}
    assert {"conv", "b1.conv1", "b1.conv2", "b3.conv2", "b3.short", "fc"} <= set(found)
    assert found["b1.conv1"].macs == 2_359_296
    assert sum(layer.macs for layer in layers) == 12_501_632
    assert all(layer.latency_ms is not None and layer.latency_ms >= 0 for layer in layers)


@pytest.mark.parametrize(
    ("node", "module"),
    [
        ("/conv/Conv", "conv"),
        ("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"),
        ("/0/0.1/0.1.2/Relu", "0.1.2"),
        ("/b1/Relu", "b1"),
        ("/Relu", ""),
        ("ReorderInput", ""),
    ],
)
def test_module_names_of_exported_nodes(node: str, module: str) -> None:
    assert module_name(node) == module


class _Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 3), nn.Linear(5, 3)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.left(a) + self.right(b), self.left(a)


@pytest.mark.parametrize("as_dict", [True, False])
def test_an_export_agrees_with_the_network(as_dict: bool) -> None:
    network, a, b = _Pair().train(), torch.randn(1, 4), torch.randn(1, 5)
    inputs = {"a": a, "b": b} if as_dict else (a, b)
    session = onnxruntime.InferenceSession(export_onnx(network, inputs), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == (["a", "b"] if as_dict else ["input_0", "input_1"])
    assert [o.name for o in session.get_outputs()] == ["output_0", "output_1"]
    for found, expected in zip(session.run(None, onnx_feed(inputs)), network(a, b), strict=True):
        np.testing.assert_allclose(found, expected.detach().numpy(), atol=1e-5)
    assert network.training


def test_an_exported_image_network_agrees() -> None:
    network, image = ResNet8().eval(), torch.rand(1, 3, 32, 32) * 255
    session = onnxruntime.InferenceSession(export_onnx(network, image), providers=["CPUExecutionProvider"])
    (found,) = session.run(["output"], {"input": image.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found, network(image).numpy(), rtol=1e-4, atol=1e-4)


def test_a_network_that_cannot_be_exported() -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvals(x[0, 0]).real

    with pytest.raises(EvaluationError, match="ONNX"):
        export_onnx(Odd(), IMAGE)


def _hold(path: str, seconds: float, ready: object) -> None:
    with timing_lock():
        ready.set()  # type: ignore[attr-defined]
        Path(path).write_text(str(time.time()), encoding="utf-8")
        time.sleep(seconds)
        Path(path).write_text(str(time.time()), encoding="utf-8")


def test_two_processes_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fcntl")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(locking.tempfile, "tempdir", None)
    context = multiprocessing.get_context("fork")
    ready, mark = context.Event(), tmp_path / "mark"
    process = context.Process(target=_hold, args=(str(mark), 1.0, ready))
    process.start()
    assert ready.wait(10)
    with timing_lock():
        entered = time.time()
    process.join(10)
    assert entered >= float(mark.read_text(encoding="utf-8")) - 0.01


def test_a_clock_that_stands_still_over_some_runs_tells_nothing_of_them() -> None:
    ticks = iter([0.0, 0.003, 0.002, 0.0, 0.002, 0.004])
    assert _warm_up(lambda _: next(ticks), lambda: None, 0.0) == 0.002
    assert _block_runs(math.inf) == RUNS_PER_BLOCK[0]
    found = _summary([[0.0, 0.002, 0.002], [0.0, 0.0], [0.004, 0.0, 0.004]])
    assert found.median_ms == pytest.approx(2.0)
    with pytest.raises(EvaluationError, match="stood still"):
        _summary([[0.0], [0.0]])
