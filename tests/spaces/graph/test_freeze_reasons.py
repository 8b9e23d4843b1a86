"""Every weight is offered or frozen for a reason, and a reason is told by its code."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import espalier_test_architectures as zoo
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from espalier.spaces import trace
from espalier.spaces.graph.freeze_reasons import FreezeCode
from espalier.spaces.graph.groups import FrozenGroup
from espalier.testing.architectures import unlisted_weights


@pytest.mark.parametrize("code", FreezeCode)
def test_every_code_has_words_and_a_remedy(code):
    details = {"layers": "head", "operation": "argmax", "fault": "{x}", "difference": "0.1", "clash": "no"}
    details["objection"] = "a tensor of shape (1, 3)"
    reason = code.because(**details)
    assert reason.code is code is FreezeCode(str(code))
    assert reason.words
    assert "{" not in reason.words.replace("{x}", "")
    assert code.remedy.endswith(".")
    assert json.loads(json.dumps(code)) == code.value


@pytest.mark.parametrize("code", FreezeCode)
def test_every_code_is_explained(code):
    assert f"`{code}`" in (Path(__file__).parents[3] / "docs" / "inspect.md").read_text(encoding="utf-8")


def test_no_two_codes_say_the_same():
    assert len({code.words for code in FreezeCode}) == len(FreezeCode)


def test_a_parameter_outside_of_any_layer_stands_for_itself():
    frozen = FrozenGroup.because(FreezeCode.SCALAR.because(), "scale", ("", "head"), 4)
    assert frozen.layers == ("scale", "head")


class Product(torch.autograd.Function):
    """A matrix product with a backward pass of its own."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return x @ weight.t()

    @staticmethod
    def backward(ctx, *gradients):
        x, weight = ctx.saved_tensors
        return gradients[0] @ weight, gradients[0].t() @ x


class Between(nn.Module):
    """A weight of its own between two layers, used in whatever way."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(8, 16), nn.Linear(12, 3)
        self.weight = nn.Parameter(torch.randn(12, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.leave(F.relu(self.between(F.relu(self.enter(x)))))

    def between(self, x: torch.Tensor) -> torch.Tensor:
        return Product.apply(x, self.weight)


class Listed(Between):
    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList([self.weight, nn.Parameter(torch.randn(12))])
        del self.weight

    def between(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weights[0], self.weights[1])


class Scripted(Between):
    def __init__(self) -> None:
        super().__init__()
        del self.weight
        self.middle = torch.jit.script(nn.Sequential(nn.Linear(16, 12), nn.ReLU()))

    def between(self, x: torch.Tensor) -> torch.Tensor:
        return self.middle(x)


class Unknown(Between):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.lstsq(self.weight.t(), x.t()).solution.t()


class Computed(Between):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.randn(4))
        self.weight = nn.Parameter(torch.randn(4, 12, 16))

    def between(self, x: torch.Tensor) -> torch.Tensor:
        return x @ (self.mix[:, None, None] * self.weight).sum(0).t()


class Complex(nn.Module):
    """A layer that multiplies frequencies with complex weights."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Conv1d(3, 8, 1), nn.Conv1d(6, 3, 1)
        self.weight = nn.Parameter(torch.randn(8, 6, 5, dtype=torch.cfloat))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.einsum("bif,iof->bof", torch.fft.rfft(self.enter(x))[..., :5], self.weight)
        return self.leave(torch.fft.irfft(x, n=8))


class Partly(nn.Module):
    """A normalised input, a map of positions, a temperature; one head for training and one that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.body, self.head = nn.BatchNorm2d(3), nn.Conv2d(3, 8, 1), nn.Linear(8, 2)
        self.auxiliary, self.spare = nn.Conv2d(8, 4, 1), nn.Sequential(nn.Linear(8, 5), nn.LayerNorm(5))
        self.places, self.temperature = nn.Parameter(torch.randn(1, 1, 6, 6)), nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(self.norm(x)) + self.places
        if self.training:
            x = x + self.auxiliary(x).mean()
        return self.head(F.relu(x).mean((2, 3))) * self.temperature


FLAT, SIGNAL, IMAGE = torch.zeros(1, 8), torch.zeros(1, 3, 8), torch.zeros(1, 3, 6, 6)


@pytest.mark.parametrize(
    ("network", "example"),
    [
        (Between, FLAT),
        (Listed, FLAT),
        (Scripted, FLAT),
        (Unknown, FLAT),
        (Computed, FLAT),
        (Complex, SIGNAL),
        (Partly, IMAGE),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_weight_is_in_one_of_the_two_lists(network, example):
    torch.manual_seed(0)
    model = network().eval()
    graph = trace(model, example)
    assert graph.groups or graph.frozen
    assert unlisted_weights(model, graph) == []
    assert all(f.reason and isinstance(f.code, FreezeCode) and f.channels > 0 and f.layers for f in graph.frozen)


def test_a_weight_of_an_own_backward_pass_is_offered():
    assert {g.name: g.channels for g in trace(Between().eval(), FLAT)} == {"enter": 16, "weight": 12}


def test_what_never_runs_is_told_as_such():
    graph = trace(Partly().eval(), IMAGE)
    idle = {f.name for f in graph.frozen if f.code is FreezeCode.NEVER_RUN}
    assert idle == {"spare.0", "spare.1"}
    # The auxiliary head runs in training mode, in which its channels are averaged.
    assert {g.name: (g.channels, g.verification) for g in graph} == {"body": (8, "exact"), "auxiliary": (4, "shape")}
    assert {f.name: f.code for f in graph.frozen}["places"] is FreezeCode.UNFOLLOWED


def test_no_reason_is_told_from_its_words():
    """Readers that look into a sentence break when it is written better."""
    import espalier.cli.tables
    import espalier.reports.diagnosis
    import espalier.reports.inspection
    import espalier.testing.architectures

    for module in (espalier.cli.tables, espalier.reports.diagnosis, espalier.reports.inspection):
        assert " in reason" not in inspect.getsource(module)
        assert "reason.startswith" not in inspect.getsource(module)


def test_the_architectures_of_the_tests_say_codes():
    graph = trace(zoo.UNet().eval(), torch.zeros(1, 3, 16, 16))
    assert [f.code for f in graph.frozen] == [FreezeCode.OUTPUT]
