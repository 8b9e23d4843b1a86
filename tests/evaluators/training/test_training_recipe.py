"""What networks are fine-tuned with, and the losses that follow the metric."""

from __future__ import annotations

import dataclasses
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from espalier.errors import EvaluationError, TaskError, UnknownNameError
from espalier.evaluators.task.losses import loss_of
from espalier.evaluators.training.fine_tune import fine_tune
from espalier.evaluators.training.optimizers import needs_adamw
from espalier.evaluators.training.schedules import SCHEDULES, factor
from espalier.evaluators.training.scoring import score, validation_loss
from espalier.evaluators.training.training_recipe import training_recipe


class Attention(nn.Module):
    """As timm calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(4, 12)


class ChannelAttention(nn.Module):
    """As convolutional networks have it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)


@pytest.mark.parametrize(
    ("model", "adamw"),
    [
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)), False),
        (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), True),
        (nn.TransformerEncoderLayer(8, 2), True),
        (nn.Sequential(nn.MultiheadAttention(8, 2)), True),
        (nn.Sequential(Attention()), True),
        (nn.Sequential(ChannelAttention()), False),
        (nn.RMSNorm(4), True),
        (nn.GRU(4, 4), False),
    ],
)
def test_the_optimizer_follows_the_network(model, adamw, stripes_task):
    assert (needs_adamw(model) is not None) == adamw
    recipe = training_recipe(model, dataclasses.replace(stripes_task, learning_rate=None))
    assert recipe.optimizer == ("adamw" if adamw else "sgd")
    assert adamw or recipe.learning_rate == 0.01
    assert recipe.why in recipe.note


@pytest.mark.parametrize(
    ("model", "rate"),
    [
        (nn.LayerNorm(16), 3e-3),
        (nn.LayerNorm(64), 3e-3),
        (nn.Sequential(nn.LayerNorm(64), nn.MultiheadAttention(192, 3)), 1e-3),
        (nn.LayerNorm(768), 2.5e-4),
        (Attention(), 1e-3),
    ],
)
def test_the_rate_of_adamw_falls_with_the_width(model, rate, stripes_task):
    found = training_recipe(model, dataclasses.replace(stripes_task, learning_rate=None))
    assert found.learning_rate == pytest.approx(rate)


def test_what_the_task_says_holds(stripes_task):
    task = dataclasses.replace(stripes_task, optimizer="AdamW", weight_decay=0.2, learning_rate=0.004)
    model = task.model()
    found = training_recipe(model, task).build(model.parameters())
    assert isinstance(found, torch.optim.AdamW)
    decays = {p.dim() > 1: group["weight_decay"] for group in found.param_groups for p in group["params"]}
    assert decays == {True: 0.2, False: 0.0}
    assert {group["lr"] for group in found.param_groups} == {0.004}
    assert "high for AdamW" in training_recipe(model, dataclasses.replace(task, learning_rate=0.05)).note


def test_sgd_is_as_it_was(stripes_task):
    model = stripes_task.model()
    recipe = training_recipe(model, stripes_task)
    (group,) = recipe.build(model.parameters()).param_groups
    assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (0.05, 0.9, True, 1e-4)
    assert (recipe.clip_norm, recipe.schedule, recipe.label_smoothing) == (5.0, "cosine", 0.0)


def test_a_function_of_the_parameters_builds_it(stripes_task):
    rates = []

    def adagrad(parameters):
        found = torch.optim.Adagrad(parameters, lr=0.03)
        rates.append(found)
        return found

    task = dataclasses.replace(stripes_task, optimizer=adagrad, learning_rate=None, schedule="constant")
    tuned = fine_tune(task.model(), task, 320, torch.Generator().manual_seed(0))
    assert rates[0].param_groups[0]["lr"] == pytest.approx(0.03)
    assert not tuned.training
    assert training_recipe(tuned, task).to_dict()["optimizer"] == "adagrad"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"optimizer": "rmsprop"}, "unknown optimizer 'rmsprop'"),
        ({"schedule": "step"}, "unknown schedule 'step'"),
        ({"learning_rate": 0.0}, "learning_rate 0.0"),
        ({"learning_rate": math.nan}, "learning_rate nan"),
        ({"weight_decay": -1.0}, "weight_decay -1.0"),
        ({"clip_norm": 0.0}, "clip_norm 0.0"),
        ({"optimizer": torch.optim.SGD([nn.Parameter(torch.zeros(1))])}, "optimizer of type SGD"),
        ({"optimizer": lambda p: torch.optim.SGD(p, lr=1.0)}, "learning_rate beside an optimizer"),
    ],
)
def test_what_cannot_train_is_refused(changes, words, stripes_task):
    with pytest.raises((TaskError, UnknownNameError), match=words):
        training_recipe(nn.Linear(2, 2), dataclasses.replace(stripes_task, **changes))


def test_a_function_that_returns_no_optimizer_is_refused(stripes_task):
    task = dataclasses.replace(stripes_task, optimizer=lambda parameters: None, learning_rate=None)
    with pytest.raises(TaskError, match="optimizer\\(\\) gave NoneType"):
        fine_tune(task.model(), task, 64, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "middle", "end"), [("cosine", 0.5, 0.0), ("linear", 0.5, 0.0), ("constant", 1.0, 1.0)]
)
def test_schedules_rise_and_then_go_their_way(name, middle, end):
    rates = [factor(SCHEDULES.get(name), step, 100) for step in range(101)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[55] == pytest.approx(middle)
    assert rates[100] == pytest.approx(end)


def test_gradients_are_clipped_only_where_asked(stripes_task):
    def moved(clip_norm):
        task = dataclasses.replace(
            stripes_task, optimizer="sgd", clip_norm=clip_norm, schedule="constant", weight_decay=0.0, batch_size=64
        )
        model = task.model()
        before = [p.detach().clone() for p in model.parameters()]
        fine_tune(model, task, 64, torch.Generator().manual_seed(0))
        return math.sqrt(sum(float((a - b).square().sum()) for a, b in zip(before, model.parameters(), strict=True)))

    # One step of Nesterov: rate * (1 + momentum) * gradient, whose norm is clipped.
    assert moved(1e-3) == pytest.approx(0.05 * 1.9 * 1e-3, rel=1e-3)
    assert moved(None) > moved(1e-3)


def test_cross_entropy_leaves_out_what_does_not_count(stripes_task):
    tokens = torch.randn(2, 5, 3, requires_grad=True)
    labels = torch.randint(3, (2, 5))
    labels[1, 2:] = -100
    loss = loss_of(dataclasses.replace(stripes_task, ignore_index=-100, class_dim=-1))
    wanted = F.cross_entropy(tokens.reshape(-1, 3), labels.reshape(-1), ignore_index=-100)
    assert float(loss({"logits": tokens}, labels)) == pytest.approx(float(wanted))
    loss(tokens, labels).backward()
    assert tokens.grad is not None
    assert bool((tokens.grad[1, 2:] == 0).all())
    masked = loss_of(dataclasses.replace(stripes_task, mask="mask"))
    targets = {"labels": labels.clamp_min(0), "mask": labels >= 0}
    assert float(masked(tokens, targets)) == pytest.approx(float(wanted))
    assert float(loss(tokens, torch.full((2, 5), -100))) == 0.0


def test_the_default_loss_follows_the_metric(stripes_task):
    regression = loss_of(dataclasses.replace(stripes_task, metric="mae"))
    assert float(regression(torch.tensor([[1.0], [3.0]]), torch.tensor([1.0, 1.0]))) == 2.0
    smooth = loss_of(dataclasses.replace(stripes_task, label_smoothing=0.1))
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    assert float(smooth(logits, labels)) == pytest.approx(float(F.cross_entropy(logits, labels, label_smoothing=0.1)))
    one = torch.randn(4, 1)
    binary = F.binary_cross_entropy_with_logits(one[:, 0], torch.tensor([0.0, 1.0, 1.0, 0.0]))
    assert float(loss_of(stripes_task)(one, torch.tensor([0, 1, 1, 0]))) == pytest.approx(float(binary))
    own = dataclasses.replace(stripes_task, loss=lambda outputs, targets: outputs.mean())
    assert loss_of(own) is own.loss
    with pytest.raises(TaskError, match="label_smoothing beside a loss"):
        loss_of(dataclasses.replace(own, label_smoothing=0.1))
    assert pickle.loads(pickle.dumps(smooth)) == smooth


def test_plain_targets_have_pytorchs_own_loss(stripes_task):
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    assert torch.equal(loss_of(stripes_task)(logits, labels), F.cross_entropy(logits, labels))
    shares = torch.softmax(torch.randn(4, 3), 1)
    assert torch.equal(loss_of(stripes_task)(logits, shares), F.cross_entropy(logits, shares))


def test_an_own_evaluate_that_is_minimised_stands_in_for_the_loss(stripes_task):
    error = dataclasses.replace(stripes_task, evaluate=lambda model, data: 3.0, direction="minimize")
    assert validation_loss(error.model(), error, limit=8) == 3.0
    gain = dataclasses.replace(stripes_task, evaluate=lambda model, data: 3.0)
    assert validation_loss(gain.model(), gain, limit=8) == -3.0


def test_a_probe_of_one_class_looks_at_everything(stripes_task):
    x, y = stripes_task.validation
    order = y.argsort()
    task = dataclasses.replace(stripes_task, metric="auc", validation=(x[order], y[order]))
    whole = score(task.model(), task, task.validation)
    assert score(task.model(), task, task.validation, limit=16) == whole
    with pytest.raises(EvaluationError, match="gave nan"):
        score(task.model(), task, (x[:4], torch.zeros(4).long()))
