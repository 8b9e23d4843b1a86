from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from espalier.errors import EvaluationError
from espalier.evaluators.counting import size_bytes
from espalier.evaluators.onnx.int8_products import can_saturate
from espalier.evaluators.onnx.onnx_export import export_onnx
from espalier.evaluators.onnx.onnx_network import deploy, deployed_file
from espalier.evaluators.onnx.quantisation import RECIPE, digest, float_elements, int8_elements, quantise, quantise_onnx
from espalier.evaluators.onnx.quantisation_scheme import SCHEMES
from espalier.evaluators.task.task import Task
from espalier.evaluators.training.scoring import score


def task_of(network: nn.Module, inputs, targets=None, **others) -> Task:
    first = inputs if isinstance(inputs, torch.Tensor) else next(iter(_tensors(inputs)))
    targets = torch.arange(len(first)) % 3 if targets is None else targets
    example = _map(lambda t: t[:1], inputs)
    data = (inputs, targets)
    return Task(name="t", model=lambda: network, example_input=example, train=data, validation=data, **others)


def _tensors(inputs):
    return inputs.values() if isinstance(inputs, dict) else inputs


def _map(function, inputs):
    if isinstance(inputs, torch.Tensor):
        return function(inputs)
    if isinstance(inputs, dict):
        return {name: function(t) for name, t in inputs.items()}
    return tuple(function(t) for t in inputs)


def raw_outputs(file: bytes, x: torch.Tensor) -> np.ndarray:
    """Score without any of Espalier: a plain session, one sample at a time."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (name,) = (i.name for i in session.get_inputs())
    return np.concatenate([session.run(None, {name: x[i : i + 1].numpy()})[0] for i in range(len(x))])


def image_network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
        layers += [nn.Conv2d(16, 16, 3, groups=16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        network = nn.Sequential(*layers, nn.Linear(16, 3))
        network(torch.randn(64, 3, 8, 8))
        return network.eval()


def images(count: int = 300) -> torch.Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


BY_HAND = {
    "u8s7": ([[64, -32], [8, 64]], 64),  # rows over 1/64 and 2/64
    "u8s8": ([[127, -64], [16, 127]], 127),  # rows over 1/127 and 2/127; -63.5 rounds to even
    "u8u8": ([[127, -64], [16, 127]], 127.5),  # about 128, rows over 2/255 and 4/255; 127.5 is cut at 255
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_linear_layer_by_hand(name: str) -> None:
    layer = nn.Linear(2, 2)
    layer.weight.data = torch.tensor([[1.0, -0.5], [0.25, 2.0]])
    layer.bias.data = torch.tensor([0.1, -0.2])
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.5]])
    file = quantise(layer, task_of(layer, x), scheme=SCHEMES.get(name))
    stored = [numpy_helper.to_array(t) for t in onnx.load_from_string(file).graph.initializer]
    (weights,) = (t.astype(int) - 128 * (t.dtype == np.uint8) for t in stored if t.itemsize == 1 and t.ndim == 2)
    expected, levels = np.array(BY_HAND[name][0]), BY_HAND[name][1]
    assert np.array_equal(weights, expected) or np.array_equal(weights.T, expected)

    scale_x, scale_w = 1 / 255, np.array([1, 2]) / levels
    xq = np.rint(x.numpy() / scale_x)
    bias = np.rint(np.array([0.1, -0.2]) / (scale_x * scale_w))
    real = (xq @ expected.T + bias) * scale_x * scale_w
    low, high = -0.4, 2.05  # what the layer gives on these five, zero included
    scale_y = (high - low) / 255
    zero = np.rint(-low / scale_y)
    by_hand = (np.clip(np.rint(real / scale_y) + zero, 0, 255) - zero) * scale_y
    # As a processor that the file is right on computes it: with weights of 8 bits, not every processor.
    outputs = deployed_file(layer, task_of(layer, x), file).network(x).numpy()
    np.testing.assert_allclose(outputs, by_hand, atol=1e-5)
    if not can_saturate(file):
        np.testing.assert_allclose(raw_outputs(file, x), by_hand, atol=1e-5)


def test_the_score_is_that_of_the_very_file() -> None:
    network, x = image_network(), images()
    targets = network(x).argmax(1)
    task = task_of(network, x, targets)
    deployed = deploy(network, task, "int8")
    assert deployed.onnx is not None
    expected = float((raw_outputs(deployed.onnx, x).argmax(1) == targets.numpy()).mean())
    assert score(deployed.network, task, task.validation) == pytest.approx(expected, abs=1e-9)
    assert 0.8 < expected <= 1
    first = float((raw_outputs(deployed.onnx, x[:50]).argmax(1) == targets[:50].numpy()).mean())
    assert score(deployed.network, task, task.validation, limit=50) == pytest.approx(first, abs=1e-9)


def test_a_score_of_the_file_is_not_a_score_of_pytorch() -> None:
    network, x = image_network(), images(40)
    task = task_of(network, x)
    file = quantise(network, task)
    with torch.no_grad():
        difference = (deployed_file(network, task, file).network(x) - network(x)).abs().max()
    assert 0 < difference < 0.1 * network(x).abs().max()


def test_fp32_is_the_network_itself() -> None:
    network = image_network()
    deployed = deploy(network, task_of(network, images(8)), "fp32")
    assert deployed.network is network
    assert deployed.onnx is None


def test_equal_inputs_give_equal_bytes_in_another_process() -> None:
    network, x = image_network(), images()
    here = digest(quantise(network, task_of(network, x)))
    assert here == digest(quantise(network, task_of(network, x), threads=2))
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_quantisation as t; "
        "n = t.image_network(); print(t.digest(t.quantise(n, t.task_of(n, t.images()))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert done.stdout.strip() == here


def test_calibration_sees_only_so_many_training_samples() -> None:
    network = nn.Linear(2, 3).eval()
    x = torch.zeros(5000, 2)
    x[: RECIPE.samples] = 1.0
    order = torch.randperm(5000, generator=torch.Generator().manual_seed(RECIPE.seed))
    seen, unseen = x.clone(), x.clone()
    seen[order[0]] = 100.0
    unseen[order[RECIPE.samples]] = 100.0
    plain = digest(quantise(network, task_of(network, x)))
    assert digest(quantise(network, task_of(network, unseen))) == plain
    assert digest(quantise(network, task_of(network, seen))) != plain


def test_batch_norm_is_folded_first() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        dense = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
        dense(5 * torch.randn(64, 8) + 1)
    x = torch.randn(200, 8, generator=torch.Generator().manual_seed(2))
    for network, inputs in ((dense.eval(), x), (image_network(), images(200))):
        file = quantise(network, task_of(network, inputs))
        assert "BatchNormalization" not in {n.op_type for n in onnx.load_from_string(file).graph.node}
        with torch.no_grad():
            expected = network(inputs).numpy()
        assert np.abs(raw_outputs(file, inputs) - expected).max() < 0.05 * np.abs(expected).max()


def test_the_size_told_is_the_size_stored() -> None:
    network = image_network()
    file = quantise(network, task_of(network, images(20)))
    weights = sum(p.numel() for p in network.parameters() if p.dim() > 1)
    assert int8_elements(file) == weights
    assert float_elements(file) == 0
    assert size_bytes(network, "int8") < len(file)


def test_zeroed_weights_stay_zero() -> None:
    network, x = image_network(), images(50)
    for weight in (network[0].weight, network[3].weight):
        weight.data.view(-1)[::2] = 0
    file = quantise(network, task_of(network, x))
    stored = [numpy_helper.to_array(t) for t in onnx.load_from_string(file).graph.initializer]
    kernels = [t for t in stored if t.dtype == np.int8 and t.ndim == 4]
    assert len(kernels) == 2
    assert all((kernel.reshape(-1)[::2] == 0).all() and (kernel != 0).any() for kernel in kernels)


class _Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 3), nn.Linear(5, 3)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"sum": self.left(a) + self.right(b), "left": self.left(a)}


@pytest.mark.parametrize("as_dict", [True, False])
def test_several_inputs_and_outputs_keep_their_structure(as_dict: bool) -> None:
    a, b = torch.randn(30, 4), torch.randn(30, 5)
    inputs = {"a": a, "b": b} if as_dict else (a, b)
    network = _Pair().eval()
    found = deploy(network, task_of(network, inputs), "int8").network
    outputs = found(**inputs) if isinstance(inputs, dict) else found(*inputs)
    expected = network(a, b)
    assert outputs.keys() == expected.keys()
    for name in expected:
        assert outputs[name].shape == (30, 3)
        assert (outputs[name] - expected[name]).abs().max() < 0.1


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(20, 8), nn.LSTM(8, 16, batch_first=True)
        self.attention, self.head = nn.MultiheadAttention(16, 4, batch_first=True), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.lstm(self.embedding(x))[0]
        return self.head(y + self.attention(y, y, y)[0])


def test_weights_that_cannot_be_quantised_are_charged_in_full() -> None:
    network, x = _Recurrent().eval(), torch.randint(0, 20, (40, 7))
    task = task_of(network, x)
    file = quantise(network, task)
    recurrent = sum(p.numel() for name, p in network.lstm.named_parameters() if "weight" in name)
    assert recurrent <= float_elements(file) < 1.2 * recurrent
    with torch.no_grad():
        assert (deployed_file(network, task, file).network(x[:5]) - network(x[:5])).abs().max() < 0.3


class _Doubling(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def test_what_cannot_be_quantised_is_an_evaluation_error() -> None:
    x = torch.randn(20, 3)
    with pytest.raises(EvaluationError, match="nothing in the network"):
        quantise(_Doubling(), task_of(_Doubling(), x))
    broken = nn.Linear(3, 2)
    broken.weight.data[0, 0] = float("nan")
    with pytest.raises(EvaluationError, match="not finite"):
        quantise(broken.eval(), task_of(broken, x))
    with pytest.raises(EvaluationError, match="cannot be quantised"):
        quantise_onnx(export_onnx(nn.Linear(3, 2), x[:1]), [{"input": np.zeros((1, 4), np.float32)}])


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    network = image_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    quantise(network, task_of(network, images(20)))
    assert not list(tmp_path.iterdir())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
