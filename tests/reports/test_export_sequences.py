"""Networks of PyTorch's own attention and recurrent layers, from the search to a verified export."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from espalier import Task, load, run_search, verify
from espalier.reports.export import export
from espalier.spaces import Policy, trace
from espalier.spaces.architectures.attention import HeadAttention

LENGTH = 6


class Reader(nn.Module):
    """An LSTM over words, an encoder over what it says, and a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.lstm = nn.Embedding(12, 8), nn.LSTM(8, 32, batch_first=True)
        self.encoder = nn.TransformerEncoderLayer(32, 4, 24, dropout=0.0, batch_first=True)
        self.head = nn.Linear(32, 2)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.lstm(self.words(words))[0]).mean(1))


def _network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Reader().eval()


def _data(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    words = torch.randint(0, 12, (128, LENGTH), generator=torch.Generator().manual_seed(seed))
    return words, (words.sum(1) > 33).long()


@pytest.fixture(scope="module")
def task() -> Task:
    return Task(
        name="reader",
        model=_network,
        example_input=_data(0)[0][:1],
        train=_data(0),
        validation=_data(1),
        test=_data(2),
        batch_size=32,
        learning_rate=0.02,
    )


@pytest.mark.parametrize("precision", [pytest.param("fp32", marks=pytest.mark.slow), "int8"])
def test_fewer_heads_and_hidden_units_are_searched_exported_loaded_and_verified(task, tmp_path, precision):
    graph = trace(task.model(), task.example_input)
    own = Policy.from_kept(graph, {"lstm": 16, "encoder.self_attn": 2}, criterion="l2")
    own = dataclasses.replace(own, precision=precision)
    run = run_search(
        task, out=tmp_path / "run", trials=1, threads=1, samples=64, precision=(precision,),
        objectives=("accuracy", "macs"), start=[own],
    )  # fmt: skip
    export(run, 0, tmp_path / "export", task=task)
    small = load(tmp_path / "export", task=task)
    assert (small.lstm.input_size, small.lstm.hidden_size) == (8, 16)
    assert type(small.encoder.self_attn) is HeadAttention
    assert tuple(small.encoder.self_attn.in_proj_weight.shape) == (3 * 2 * 8, 16)
    found = verify(tmp_path / "export", task=task)
    # How fast a network runs beside other tests is judged by tests of their own.
    assert not [check for check in found.checks if not check.passed and check.name != "latency_ms"]
