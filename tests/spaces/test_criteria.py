"""Criteria against scores computed by hand."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from espalier_test_networks import INPUTS, Perceptron, Residual, seeded
from torch import nn

from espalier.errors import InputError, UnknownNameError
from espalier.spaces import CRITERIA, Group, Rankings, Samples, Slice, rank, trace
from espalier.spaces.importance.criteria import Activations, Statistics
from espalier.spaces.importance.criteria.lamp import lamp_scores


def _rows(count: int) -> tuple[tuple[int, ...], ...]:
    return tuple((i,) for i in range(count))


# Three channels: a linear layer with rows (3, 4), (0, 1), (1, 0) produces them, a BatchNorm scales them, and each is
# read by one column.
PRODUCER = torch.tensor([[3.0, 4.0], [0.0, 1.0], [1.0, 0.0]])
CONSUMER = torch.tensor([[1.0, 2.0, 3.0]])
GROUP = Group(
    "fc",
    3,
    (
        Slice("fc.weight", 0, _rows(3), produces=True),
        Slice("bn.weight", 0, _rows(3), produces=True),
        Slice("next.weight", 1, _rows(3), produces=False),
    ),
    "exact",
    0,
)


def _statistics(**found: Any) -> Statistics:
    tensors = {"fc.weight": PRODUCER, "bn.weight": torch.tensor([0.5, -2.0, 1.0]), "next.weight": CONSUMER}
    return Statistics(tensors, {}, frozenset({"bn"}), torch.Generator(), **found)


def _normalised(values: list[float]) -> torch.Tensor:
    return torch.tensor(values) / (sum(values) / len(values))


@pytest.mark.parametrize(("name", "rows"), [("l1", [7.0, 1.0, 1.0]), ("l2", [5.0, 1.0, 1.0])])
def test_magnitude_averages_normalised_norms_of_rows_and_columns(name, rows):
    expected = (_normalised(rows) + _normalised([1.0, 2.0, 3.0])) / 2
    torch.testing.assert_close(CRITERIA.get(name).scores(GROUP, _statistics()), expected)


def test_bn_scale_is_the_absolute_scale():
    torch.testing.assert_close(CRITERIA.get("bn_scale").scores(GROUP, _statistics()), _normalised([0.5, 2.0, 1.0]))


def test_fpgm_is_the_sum_of_distances_to_the_other_filters():
    d01, d02, d12 = math.dist((3, 4), (0, 1)), math.dist((3, 4), (1, 0)), math.dist((0, 1), (1, 0))
    expected = _normalised([d01 + d02, d01 + d12, d02 + d12])
    torch.testing.assert_close(CRITERIA.get("fpgm").scores(GROUP, _statistics()), expected)


def test_taylor_is_the_mean_square_of_what_each_sample_says():
    changes = {
        ("fc.weight", 0): torch.tensor([[1.0, -2.0, 0.0], [-1.0, 4.0, 1.0]])
    }  # two samples that cancel in channel 0
    scores = CRITERIA.get("taylor").scores(GROUP, _statistics(sample_changes=changes))
    torch.testing.assert_close(scores, _normalised([(1 + 1) / 2, (4 + 16) / 2, (0 + 1) / 2]))


def test_taylor_adds_up_the_positions_of_a_channel_before_it_squares():
    group = Group("fc", 2, (Slice("fc.weight", 0, ((0, 2), (1,)), produces=True),), "exact", 0)
    changes = {("fc.weight", 0): torch.tensor([[3.0, 1.0, -3.0], [2.0, 2.0, 2.0]])}
    scores = CRITERIA.get("taylor").scores(group, _statistics(sample_changes=changes))
    torch.testing.assert_close(scores, _normalised([(0 + 16) / 2, (1 + 4) / 2]))


def test_lamp_of_weights_divides_by_all_that_are_at_least_as_large():
    expected = torch.tensor([[1.0, 1 / 18], [4 / 17, 4 / 17]])
    torch.testing.assert_close(lamp_scores(torch.tensor([[3.0, -1.0], [2.0, -2.0]])), expected)
    assert lamp_scores(torch.zeros(2, 2)).tolist() == [[0, 0], [0, 0]]


def test_lamp_of_a_group_is_that_of_its_l2_magnitudes():
    # By l2: (15/7 + 1/2) / 2, (3/7 + 2/2) / 2, (3/7 + 3/2) / 2, which is 37/28, 20/28, 27/28.
    expected = torch.tensor([1.0, 20**2 / (20**2 + 27**2 + 37**2), 27**2 / (27**2 + 37**2)])
    torch.testing.assert_close(CRITERIA.get("lamp").scores(GROUP, _statistics()), expected)


def test_hessian_sums_half_the_fisher_times_the_squared_weight_over_filters_and_scales():
    squared = {
        "fc.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0], [0.0, 1.0]]),
        "bn.weight": torch.tensor([2.0, 1.0, 4.0]),
        "next.weight": torch.tensor([[100.0, 100.0, 100.0]]),
    }
    filters = [(9 * 1 + 16 * 2) / 2, (0 * 3 + 1 * 4) / 2, (1 * 0 + 0 * 1) / 2]
    scales = [0.25 * 2 / 2, 4 * 1 / 2, 1 * 4 / 2]
    expected = torch.tensor([f + s for f, s in zip(filters, scales, strict=True)])
    torch.testing.assert_close(CRITERIA.get("hessian").scores(GROUP, _statistics(squared_gradients=squared)), expected)


def test_activation_is_taken_where_channels_are_read_else_where_they_are_written():
    read, written = {"next": torch.tensor([1.0, 0.0, 2.0])}, {"fc": torch.tensor([3.0, 1.0, 2.0])}
    criterion = CRITERIA.get("activation")
    both = criterion.scores(GROUP, _statistics(activations=Activations(read, written)))
    torch.testing.assert_close(both, _normalised([1.0, 0.0, 2.0]))
    alone = criterion.scores(GROUP, _statistics(activations=Activations({}, written)))
    torch.testing.assert_close(alone, _normalised([3.0, 1.0, 2.0]))


@pytest.mark.parametrize("name", ["taylor", "hessian", "activation"])
def test_criteria_do_not_apply_where_there_is_nothing_to_look_at(name):
    assert not CRITERIA.get(name).applies(GROUP, _statistics())


def test_channels_of_several_positions_add_them_up():
    group = Group("fc", 2, (Slice("fc.weight", 0, ((0, 2), (1,)), produces=True),), "exact", 0)
    torch.testing.assert_close(CRITERIA.get("l1").scores(group, _statistics()), _normalised([8.0, 1.0]))


def test_taylor_foretells_the_change_of_the_loss():
    model = seeded(Residual)
    graph = trace(model, INPUTS[Residual])
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(32, 3, 8, 8, generator=generator), torch.randint(0, 5, (32,), generator=generator)
    rankings = rank(model, graph, ["taylor"], samples=Samples([(inputs, targets)], F.cross_entropy))
    parameter = model.inner.weight
    losses = F.cross_entropy(model(inputs), targets, reduction="none")
    gradients = [torch.autograd.grad(loss, parameter, retain_graph=True)[0] for loss in losses]
    expected = torch.stack([(g * parameter).flatten(1).sum(1).pow(2) for g in gradients]).mean(0)
    assert rankings.of("taylor", "inner")[0] == int(expected.argmax())
    assert rankings.of("taylor", "inner")[-1] == int(expected.argmin())


@pytest.mark.parametrize("name", list(CRITERIA))
def test_every_criterion_ranks_every_group_as_a_permutation_and_repeats_itself(name):
    model = seeded(Residual)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    graph = trace(model, INPUTS[Residual])
    samples = Samples([(torch.randn(8, 3, 8, 8), torch.arange(8) % 5)], F.cross_entropy)
    with pytest.warns(UserWarning, match="l2") if name == "bn_scale" else contextlib.nullcontext():
        first = rank(model, graph, [name], samples=samples, seed=1)
        second = rank(model, graph, [name], samples=samples, seed=1)
    assert first == second == Rankings.from_dict(first.to_dict())
    for group in graph.groups:
        assert sorted(first.of(name, group.name)) == list(range(group.channels))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_criteria_that_look_at_gradients_say_what_they_lack():
    model = seeded(Perceptron)
    graph = trace(model, INPUTS[Perceptron])
    with pytest.raises(InputError, match="'taylor' without samples"):
        rank(model, graph, ["taylor"])
    with pytest.raises(UnknownNameError, match="'l1'"):
        rank(model, graph, ["l11"])


def test_a_small_filter_goes_first():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
    with torch.no_grad():
        model[0].weight[3] *= 1e-3
        model[2].weight[:, 3] *= 1e-3
    graph = trace(model, torch.zeros(1, 4))
    for name in ("l1", "l2"):
        assert rank(model, graph, [name]).of(name, "0")[-1] == 3
