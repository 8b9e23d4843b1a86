"""Attention is dropped whole, in whatever module it stands, and with any width of the stream around it."""

from __future__ import annotations

import copy

import espalier_test_architectures as zoo
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from espalier.evaluators.counting import count_macs
from espalier.evaluators.onnx.onnx_export import export_onnx, onnx_feed
from espalier.spaces import Choice, Policy, prune, rank, trace
from espalier.spaces.architectures.branches import Absent, Skipped
from espalier.spaces.inputs import call

DROPPED = Choice("block", None, kept=0, of=1)


class TabledAttention(nn.Module):
    """Attention with a table of positions of its own, over windows, as Swin has it."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.positions = 2, nn.Parameter(torch.randn(2, 4, 4))
        self.qkv, self.proj = nn.Linear(12, 36), nn.Linear(12, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        windows, length, _ = x.shape
        q, k, v = self.qkv(x).reshape(windows, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = (q @ k.mT * 6**-0.5 + self.positions).softmax(-1) @ v
        return self.proj(mixed.transpose(1, 2).reshape(windows, length, -1))


class Windowed(nn.Module):
    """Windows of four tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Linear(5, 12), nn.LayerNorm(12)
        self.attention, self.head = TabledAttention(), nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        batch, length, width = x.shape
        mixed = self.attention(self.norm(x).reshape(batch * length // 4, 4, width))
        return self.head(x + mixed.reshape(batch, length, width))


class Projections(nn.Module):
    """Queries, keys and values; what mixes them returns the weights, too."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(12, 12) for _ in range(3))

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        q, k, v = (layer(x).unflatten(-1, (-1, 4)).transpose(1, 2) for layer in (self.query, self.key, self.value))
        weights = (q @ k.mT).softmax(-1)
        return (weights @ v).transpose(1, 2).flatten(2), weights


class Output(nn.Module):
    """The end of the branch and the normalisation after it, in one module."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.norm = nn.Linear(12, 12), nn.LayerNorm(12)

    def forward(self, x: torch.Tensor, shortcut: torch.Tensor) -> torch.Tensor:
        return self.norm(shortcut + self.dense(x))


class Split(nn.Module):
    """A branch in two modules, as BERT has it: heads of four, however wide the stream is."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mixed, self.output, self.head = nn.Linear(5, 12), Projections(), Output(), nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.gelu(self.stem(x))
        return self.head(self.output(self.mixed(x, None)[0], x))


class Tokens(nn.Module):
    """PyTorch's own encoder; dropping its attention leaves the feed-forward half."""

    def __init__(self, **options: bool) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(5, 12), nn.Linear(12, 3)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(12, 3, 16, **options), 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.stem(x)))


NETWORKS = {
    "windowed": (Windowed, "attention.qkv", "attention", "stem"),
    "split": (Split, "mixed.query", "output.dense", "stem"),
    "tokens": (lambda: Tokens(batch_first=True), "encoder.layers.0.self_attn", "encoder.layers.0.self_attn", "stem"),
    "tokens, time first": (
        lambda: Tokens(norm_first=True), "encoder.layers.1.self_attn", "encoder.layers.1.self_attn", "stem"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_attention_can_be_dropped_and_the_stream_cut_with_it(name):
    build, group, end, stream = NETWORKS[name]
    torch.manual_seed(0)
    model, example = build().eval(), torch.randn(1, 8, 5)
    graph = trace(model, example)
    branch = graph.group(group).branch
    assert branch is not None
    assert branch.end == end
    rankings = rank(model, graph, ("l2",))
    whole = prune(model, graph, Policy.of(graph, {group: DROPPED}))
    assert isinstance(whole.get_submodule(end), Absent)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twin.get_submodule(branch.width_of).parameters():
            parameter.zero_()
    with torch.no_grad():
        torch.testing.assert_close(whole(example), call(twin, example), atol=1e-5, rtol=1e-4)
    for kept in range(1, 12):
        cut = Policy.from_kept(graph, {stream: kept}).choices
        small = prune(model, graph, Policy.of(graph, {**cut, group: DROPPED}), rankings=rankings)
        assert small(example).shape == (1, 8, 3)
        assert count_macs(small, example) < count_macs(model, example)
        assert group not in {n for n, m in small.named_modules() if not isinstance(m, Absent | Skipped)}


def test_a_dropped_attention_costs_nothing():
    model, example = Split().eval(), torch.zeros(1, 8, 5)
    graph = trace(model, example)
    small = prune(model, graph, Policy.of(graph, {"mixed.query": DROPPED}))
    assert count_macs(small, example) == 8 * 12 * (5 + 3)
    assert {name.partition(".")[0] for name, _ in small.named_parameters()} == {"stem", "output", "head"}


def test_an_encoder_without_attention_takes_padding_and_exports():
    from onnxruntime import InferenceSession

    model = zoo.TextClassifier().eval()
    example = (torch.arange(9).view(1, 9), torch.arange(9).view(1, 9) > 6)
    graph = trace(model, example)
    dropped = {g.name: DROPPED for g in graph if g.name.endswith("self_attn")}
    assert len(dropped) == 2
    for names in ([*dropped][:1], [*dropped][1:], [*dropped]):
        small = prune(model, graph, Policy.of(graph, dict.fromkeys(names, DROPPED)))
        with torch.no_grad():
            wanted = small(*example)
            torch.testing.assert_close(call(small, example), wanted, atol=1e-5, rtol=1e-4)
        session = InferenceSession(export_onnx(small, example), providers=["CPUExecutionProvider"])
        assert np.abs(session.run(None, onnx_feed(example))[0] - wanted.numpy()).max() < 1e-4
        assert type(model.encoder.layers[0].self_attn) is nn.MultiheadAttention


class Remembered(nn.Module):
    """An LSTM beside a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Linear(5, 8), nn.LayerNorm(8), nn.Linear(8, 3)
        self.lstm = nn.LSTM(8, 4, batch_first=True, bidirectional=True)
        self.back = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.head(x + self.back(self.lstm(self.norm(x))[0]))


def test_a_branch_with_a_recurrent_layer_is_dropped_whole():
    model, example = Remembered().eval(), torch.randn(1, 6, 5)
    graph = trace(model, example)
    branch = graph.group("lstm").branch
    assert branch is not None
    small = prune(model, graph, Policy.of(graph, {"lstm": DROPPED}))
    torch.testing.assert_close(small(example), model.head(model.stem(example)), atol=1e-5, rtol=1e-4)
    assert count_macs(small, example) == 6 * 8 * (5 + 3)
