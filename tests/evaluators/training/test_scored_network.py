"""What a candidate's accuracy is taken of."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset

from espalier import Task
from espalier.evaluators.onnx.onnx_network import OnnxNetwork
from espalier.evaluators.training import scored_network
from espalier.evaluators.training.scored_network import ScoredNetworks
from espalier.evaluators.training.scoring import score
from espalier.spaces.inputs import network_channels_last


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


class Unknown(nn.Module):
    """Has an operator that no exporter knows."""

    def forward(self, x):
        return torch.linalg.eigvals(x.mean(1)).abs()[:, :4] + x.mean()


def trained() -> nn.Module:
    torch.manual_seed(0)
    return network_channels_last(Small().eval())


@pytest.fixture
def task() -> Task:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(200, 3, 8, 8, generator=generator)
    labels = torch.randint(4, (200,), generator=generator)
    data = (images, labels)
    return Task(
        name="small",
        model=trained,
        example_input=torch.zeros(1, 3, 8, 8),
        train=data,
        validation=data,
        test=data,
        loss=F.cross_entropy,
        metric="accuracy",
    )


@pytest.fixture
def long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scored_network, "LEAST_MACS", 0.0)


@pytest.mark.usefixtures("long")
def test_the_file_has_the_accuracy_of_the_network(task: Task) -> None:
    model = trained()
    found = ScoredNetworks(task).of(model, "fp32")
    assert isinstance(found.network, OnnxNetwork)
    assert found.onnx is not None
    assert score(found.network, task, task.validation) == score(model, task, task.validation)
    inputs = task.validation[0][:5]
    assert torch.allclose(found.network(inputs), model(inputs), atol=1e-5)


def test_where_little_is_to_be_scored_the_network_itself_is(task: Task) -> None:
    model = trained()
    found = ScoredNetworks(task).of(model, "fp32")
    assert (found.network, found.onnx) == (model, None)


class Rows(Dataset):
    """Samples that are read one by one, so that nobody knows their shapes beforehand."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(index)), 0


@pytest.mark.usefixtures("long")
@pytest.mark.parametrize(
    "other",
    [
        {"validation": Rows()},
        {"validation": (torch.randn(8, 3, 16, 16), torch.zeros(8, dtype=torch.long))},
        {"evaluate": lambda model, data: float(isinstance(model, Small))},
    ],
    ids=["samples of any shape", "another shape", "a loop of its own"],
)
def test_a_task_that_a_file_cannot_be_scored_on_keeps_its_network(task: Task, other: dict[str, object]) -> None:
    model = trained()
    assert ScoredNetworks(dataclasses.replace(task, **other)).of(model, "fp32").network is model


@pytest.mark.usefixtures("long")
def test_what_cannot_be_exported_is_scored_as_it_is(task: Task) -> None:
    model = Unknown().eval()
    networks = ScoredNetworks(task)
    with pytest.warns(UserWarning, match="taken in PyTorch"):
        assert networks.of(model, "fp32").network is model
    assert networks.of(trained(), "fp32").onnx is None


class Branching(nn.Module):
    """Does something else with inputs like the example than with the task's: an exported file knows the one alone."""

    def forward(self, x):
        pooled = x.mean((2, 3))
        return pooled.repeat(1, 2)[:, :4] + (1.0 if float(x.abs().sum()) > 0 else 0.0)


@pytest.mark.usefixtures("long")
def test_a_file_that_computes_something_else_is_not_scored(task: Task) -> None:
    model = Branching().eval()
    with pytest.warns(UserWarning, match="the exported file has other outputs"):
        assert ScoredNetworks(task).of(model, "fp32").network is model
