from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from espalier.errors import EvaluationError
from espalier.evaluators.onnx.onnx_network import deploy
from espalier.evaluators.onnx.quantisation import int8_elements, quantise
from espalier.evaluators.onnx.quantisation_masks import left_in_float, name_nodes
from espalier.evaluators.task.task import Task
from espalier.evaluators.training.scoring import score

WIDTH = 16


def later(length: int) -> Tensor:
    """Return True where a position must not look."""
    return torch.ones(length, length, dtype=torch.bool).triu(1)


def distances(length: int) -> Tensor:
    positions = torch.arange(length)
    return -0.25 * (positions[:, None] - positions[None, :]).abs()


def padding(x: Tensor) -> Tensor:
    """Return True where a position holds nothing; the first always does."""
    return (x[..., 0] < -1.0) & (torch.arange(x.shape[1]) > 0)


def _infinite(length: int) -> Tensor:
    return torch.zeros(length, length).masked_fill(later(length), -math.inf)


MASKS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "added -inf": lambda s, x: s + _infinite(x.shape[1]),
    "filled with -inf": lambda s, x: s.masked_fill(later(x.shape[1]), -math.inf),
    "where -inf": lambda s, x: torch.where(later(x.shape[1]), torch.tensor(-math.inf), s),
    "log of the mask": lambda s, x: s + torch.log((~later(x.shape[1])).float()),
    "alibi and -inf": lambda s, x: s + distances(x.shape[1]) + _infinite(x.shape[1]),
    "alibi in the mask": lambda s, x: s + distances(x.shape[1]).masked_fill(later(x.shape[1]), -math.inf),
    "filled with -1e9": lambda s, x: s.masked_fill(later(x.shape[1]), -1e9),
    "filled with -1e4": lambda s, x: s.masked_fill(later(x.shape[1]), -1e4),
    "added -100": lambda s, x: s + torch.where(later(x.shape[1]), -100.0, 0.0),
    "added lowest float": lambda s, x: s + torch.where(later(x.shape[1]), torch.finfo(s.dtype).min, 0.0),
    "padding times lowest float": lambda s, x: s + padding(x).float()[:, None] * torch.finfo(s.dtype).min,
}


class ByHand(nn.Module):
    """Attention written out, with a mask of one form."""

    def __init__(self, mask: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.mask, self.embedding, self.out = mask, nn.Linear(6, WIDTH), nn.Linear(WIDTH, 3)
        self.q, self.k, self.v = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, x: Tensor) -> Tensor:
        return self.mask(q @ k.transpose(-1, -2) / 4, x).softmax(-1) @ v

    def forward(self, x: Tensor) -> Tensor:
        y = self.embedding(x)
        return self.out(self.attend(self.q(y), self.k(y), self.v(y), x)).mean(1)


class Fused(ByHand):
    """PyTorch's own attention, given a boolean mask, a mask of floats, or asked to be causal."""

    def __init__(self, form: str) -> None:
        super().__init__(lambda s, x: s)
        self.form = form

    def attend(self, q: Tensor, k: Tensor, v: Tensor, x: Tensor) -> Tensor:
        length = x.shape[1]
        if self.form == "causal":
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        mask = ~later(length) if self.form == "boolean" else _infinite(length)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


class Layers(nn.Module):
    """PyTorch's own layers."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form, self.embedding, self.out = form, nn.Linear(6, WIDTH), nn.Linear(WIDTH, 3)
        if form in ("encoder", "decoder"):
            kind = nn.TransformerEncoderLayer if form == "encoder" else nn.TransformerDecoderLayer
            self.layer = kind(WIDTH, 2, 24, batch_first=True, dropout=0.0)
        else:
            self.layer = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y, length = self.embedding(x), x.shape[1]
        causal = nn.Transformer.generate_square_subsequent_mask(length)
        if self.form == "encoder":
            y = self.layer(y, src_mask=causal)
        elif self.form == "decoder":
            y = self.layer(y, y, tgt_mask=causal)
        elif self.form == "boolean":
            y = self.layer(y, y, y, attn_mask=later(length))[0]
        elif self.form == "boolean, no weights":
            y = self.layer(y, y, y, attn_mask=later(length), need_weights=False)[0]
        else:
            y = self.layer(y, y, y, key_padding_mask=padding(x))[0]
        return self.out(y).mean(1)


class Gate(nn.Module):
    """A mask of large numbers where there is no softmax."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form, self.embedding, self.out = form, nn.Linear(6, WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.embedding(x)
        drop = padding(x)[..., None]
        if self.form == "largest":
            y = y.masked_fill(drop, -math.inf).amax(1)
        elif self.form == "sigmoid":
            y = (y * torch.sigmoid(y + drop.float() * -1e9)).mean(1)
        else:
            y = (y + drop.float() * -1e6).unsqueeze(1).relu().mean((1, 2))
        return self.out(y)


class Scores(ByHand):
    """The masked scores themselves are the output."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.embedding(x)
        return self.mask(self.q(y) @ self.k(y).transpose(-1, -2), x)


def _networks() -> dict[str, Callable[[], nn.Module]]:
    found: dict[str, Callable[[], nn.Module]] = {name: lambda m=mask: ByHand(m) for name, mask in MASKS.items()}
    found |= {f"fused, {form}": lambda f=form: Fused(f) for form in ("causal", "boolean", "float")}
    forms = ("encoder", "decoder", "boolean", "boolean, no weights", "padding")
    found |= {f"layers, {form}": lambda f=form: Layers(f) for form in forms}
    found |= {f"gate, {form}": lambda f=form: Gate(f) for form in ("largest", "sigmoid", "relu")}
    return found | {"scores": lambda: Scores(MASKS["filled with -inf"])}


NETWORKS = _networks()


def made(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = make().eval()
    if isinstance(network, ByHand):  # attention that tells positions apart, as that of a trained network
        for layer in (network.q, network.k):
            layer.weight.data *= 4
    return network


def inputs(count: int, length: int, seed: int = 1) -> Tensor:
    return torch.randn(count, length, 6, generator=torch.Generator().manual_seed(seed))


def task_of(network: nn.Module, x: Tensor, y: Tensor | None = None, *, dynamic: bool = False) -> Task:
    data = (x, torch.arange(len(x)) % 3 if y is None else y)
    axes = {"x": {1: "length"}} if dynamic else {}
    return Task(
        name="t", model=lambda: network, example_input=x[:1], train=data, validation=data, dynamic=axes, loss=_loss
    )


def _loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets)


def errors(file: bytes, network: nn.Module, length: int) -> tuple[float, float]:
    """Return what an int8 file is off by, and how its outputs vary, in a plain session on unseen samples."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (name,) = (i.name for i in session.get_inputs())
    x = inputs(30, length, seed=2)
    with torch.no_grad():
        expected = network(x).numpy()
    found = np.concatenate([session.run(None, {name: x[i : i + 1].numpy()})[0] for i in range(len(x))])
    finite = np.isfinite(expected)
    assert (expected[~finite] == found[~finite]).all()
    off = found[finite] - expected[finite]
    return float(np.sqrt((off**2).mean())), float(expected[finite].std())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_masked_network_is_right_at_int8(name: str) -> None:
    network, x = made(NETWORKS[name]), inputs(64, 8)
    file = quantise(network, task_of(network, x))
    assert int8_elements(file) > 0
    off, varies = errors(file, network, 8)
    assert off < 0.06 * varies  # 0.33 where -1e9 is quantised, 0.025 where nothing is masked


@pytest.mark.parametrize("name", ["added -inf", "filled with -1e9", "fused, causal", "layers, decoder"])
def test_a_masked_network_is_right_at_other_lengths(name: str) -> None:
    network, x = made(NETWORKS[name]), inputs(64, 8)
    file = quantise(network, task_of(network, x, dynamic=True))
    for length in (5, 11):
        off, varies = errors(file, network, length)
        assert off < 0.06 * varies


def test_the_score_of_a_masked_network_at_int8_is_near_that_at_fp32() -> None:
    network, x = made(NETWORKS["layers, encoder"]), inputs(200, 8)
    with torch.no_grad():
        y = (network(x) - network(x).mean(0)).argmax(1)
        network.out.bias.data -= network(x).mean(0)
    task = task_of(network, x, y)
    assert score(network, task, task.validation) == 1.0
    assert score(deploy(network, task, "int8").network, task, task.validation) > 0.95


def test_all_products_stay_integers_around_a_mask() -> None:
    def products_of(mask: str | None) -> int:
        network = made(NETWORKS[mask] if mask else lambda: ByHand(lambda s, x: s))
        graph = onnx.load_from_string(quantise(network, task_of(network, inputs(32, 8)))).graph
        sources = {name: node.op_type for node in graph.node for name in node.output}
        products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm")]
        return sum(all(sources.get(n) == "DequantizeLinear" for n in node.input[:2]) for node in products)

    assert products_of("filled with -inf") == products_of("filled with -1e9") == products_of(None) == 7


@pytest.mark.parametrize("row", ["everything masked", "weights not finite"])
def test_what_reaches_a_product_must_be_finite(row: str) -> None:
    if row == "everything masked":
        network = made(lambda: ByHand(lambda s, x: s.masked_fill((x[..., 0] < 9)[:, None], -math.inf)))
    else:
        network = made(NETWORKS["filled with -inf"])
        network.out.weight.data[0, 0] = math.inf
    with pytest.raises(EvaluationError, match="not finite"):
        quantise(network, task_of(network, inputs(16, 8)))


def _graph(*nodes: onnx.NodeProto, **stored: float) -> onnx.ModelProto:
    constants = [numpy_helper.from_array(np.float32([value]), name) for name, value in stored.items()]
    return helper.make_model(helper.make_graph(list(nodes), "g", [], [], constants))


def _node(operator: str, given: str, result: str) -> onnx.NodeProto:
    return helper.make_node(operator, given.split(), [result], name=result)


def test_by_hand_what_stays_in_float() -> None:
    model = _graph(
        _node("MatMul", "q k", "scores"),
        _node("Mul", "scores scale", "scaled"),
        _node("Add", "scaled mask", "masked"),
        _node("Reshape", "masked shape", "flat"),
        _node("Softmax", "flat", "p"),
        _node("MatMul", "p v", "y"),
        _node("Relu", "y", "z"),
        scale=0.25,
        mask=-100.0,
    )
    narrow = {"q": (-1, 1), "k": (-1, 1), "v": (-1, 1), "scores": (-8, 8), "scaled": (-2, 2), "p": (0, 1)}
    narrow |= {"y": (-3, 3), "z": (0, 3)}
    wide, just = {"masked": (-102.0, 2.0), "flat": (-102.0, 2.0)}, {"masked": (-62.0, 2.0), "flat": (-62.0, 2.0)}
    assert left_in_float(model, {**narrow, **wide}) == ["masked", "flat", "p"]
    assert left_in_float(model, {**narrow, **just}) == []
    with pytest.raises(EvaluationError, match="activation p is not finite"):
        left_in_float(model, {**narrow, **wide, "p": (math.nan, math.nan)})


def test_by_hand_what_drowns() -> None:
    model = _graph(_node("Add", "a b", "c"), _node("Transpose", "c", "d"), _node("ReduceMax", "d", "e"), b=-1e6)
    ends = {"a": (-3.0, 3.0), "c": (-1e6, 3.0), "d": (-1e6, 3.0), "e": (-1.0, 3.0)}
    assert left_in_float(model, ends) == ["c", "d", "e"]
    # Two large operands: 8 bits serve both alike.
    assert left_in_float(model, {**ends, "a": (-5e3, 5e3)}) == []
    # A small branch beside a larger one is no mask.
    assert left_in_float(_graph(_node("Add", "a b", "c"), b=1e-3), {"a": (-3.0, 3.0), "c": (-3.0, 3.0)}) == []


def test_each_node_gets_a_name_of_its_own() -> None:
    nodes = [helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Relu", ["b"], ["c"], name="Relu_0")]
    out = helper.make_tensor_value_info("c", TensorProto.FLOAT, [1])
    graph = helper.make_graph(nodes, "g", [], [out])
    name_nodes(graph)
    assert [node.name for node in graph.node] == ["Relu_0_1", "Relu_0"]
