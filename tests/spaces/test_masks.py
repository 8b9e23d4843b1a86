"""Zeroed weights against hand-made cases: which they are, that they stay, what they take."""

from __future__ import annotations

import math

import pytest
import torch
from espalier_test_networks import INPUTS, Concatenated, Perceptron, Residual, ZeroPadded, seeded
from torch import nn

from espalier.errors import InputError
from espalier.spaces import PRUNING_TYPES, Choice, Group, Policy, prune, rank, trace
from espalier.spaces.graph.groups import Weight
from espalier.spaces.graph.weights import as_rows, from_rows
from espalier.spaces.masks import Mask, Masks, broken_promises, element_criterion, masks_of, needs_squared_gradients


def _nm(kept: int, of: int, criterion: str = "l1") -> Choice:
    return Choice("nm", criterion, kept=kept, of=of)


def _traced(kind: type[nn.Module]):
    model = seeded(kind)
    return model, trace(model, INPUTS[kind])


def test_two_of_four_keeps_the_two_largest_of_each_four_and_the_remainder_whole():
    scores = torch.tensor([[[0.1, 0.9, 0.5, 0.2, 0.4, 0.3, 0.2, 0.1, 0.0, 0.7]]])
    kept = PRUNING_TYPES.get("nm").kept_weights(scores, _nm(2, 4))
    assert kept[0, 0].tolist() == [False, True, True, False, True, True, False, False, True, True]


def test_of_equal_weights_the_first_stay():
    assert PRUNING_TYPES.get("nm").kept_weights(torch.ones(1, 1, 4), _nm(1, 4))[0, 0].tolist() == [True] + [False] * 3


def test_single_weights_go_wherever_they_are_smallest():
    scores = torch.tensor([[[4.0, 1.0]], [[2.0, 3.0]]])
    kept = PRUNING_TYPES.get("weight").kept_weights(scores, Choice("weight", "l1", kept=2, of=4))
    assert kept.tolist() == [[[True, False]], [[False, True]]]


def test_a_convolutions_row_is_read_position_by_position_with_input_channels_side_by_side():
    weight = torch.arange(2 * 3 * 2 * 2.0).view(2, 3, 2, 2)
    rows = as_rows(weight, 0)
    assert rows.shape == (2, 4, 3)
    # Output 1 at kernel row 0, column 1 reads its three input channels.
    assert rows[1, 1].tolist() == [weight[1, c, 0, 1].item() for c in range(3)]


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3), (4, 6, 3, 5)])
def test_reordering_a_weight_can_be_undone(dim, shape):
    weight = torch.randn(shape)
    assert torch.equal(from_rows(as_rows(weight, dim), dim, weight.shape), weight)


def test_blocks_lie_along_input_channels_and_never_across_kernel_positions():
    model, graph = _traced(Residual)
    small = prune(model, graph, Policy.of(graph, {"inner": _nm(2, 4)}))
    zeros = small.inner.weight == 0
    for position in range(9):
        blocks = zeros.flatten(2)[:, :, position].view(12, 2, 4)
        assert bool((blocks.sum(-1) == 2).all())
    dense = model.inner.weight.flatten(2)[0, :4, 0].abs()
    assert set(zeros.flatten(2)[0, :4, 0].nonzero().flatten().tolist()) == set(dense.argsort()[:2].tolist())


def test_weights_that_read_fewer_channels_than_a_block_stay_whole():
    model, graph = _traced(Residual)
    small = prune(model, graph, Policy.of(graph, {"stem": _nm(2, 4)}))
    assert torch.equal(small.stem.weight, model.stem.weight)
    assert torch.equal(small.depthwise.weight, model.depthwise.weight)
    assert float((small.outer.weight == 0).float().mean()) == 0.5


def test_masks_are_of_what_is_left_once_channels_are_gone():
    model, graph = _traced(Residual)
    policy = Policy.of(
        graph,
        {
            "stem": Choice.channel(kept=6, of=8, criterion="l2"),
            "inner": _nm(2, 4),
            "down": Choice("weight", "l1", kept=320, of=1280),
        },
    )
    small = prune(model, graph, policy)
    assert small.inner.weight.shape == (12, 6, 3, 3)
    kept_columns = rank(model, graph, ("l2",)).of("l2", "stem")[:6]
    left = model.inner.weight[:, sorted(kept_columns)]
    zeros = small.inner.weight == 0
    assert torch.equal(small.inner.weight[~zeros], left[~zeros])
    # Six input channels: one block of four, of which two go, and two beyond it.
    assert bool((zeros[:, :4].sum(1) == 2).all())
    assert not bool(zeros[:, 4:].any())
    assert int((small.down.weight != 0).sum()) == round(16 * 6 * 9 / 4)
    assert broken_promises(small, graph, policy) == ()


def test_groups_that_share_a_weight_mask_their_own_rows():
    model, graph = _traced(ZeroPadded)
    group = graph.group("stem")
    of = sum(w.count for w in group.weights)
    small = prune(model, graph, Policy.of(graph, {"stem": Choice("weight", "l1", kept=of // 10, of=of)}))
    weight = next(w for w in group.weights if w.tensor == "layer3.conv2.weight")
    own = torch.zeros(32, dtype=torch.bool)
    own[list(weight.rows)] = True
    assert len(weight.rows) < 32
    assert float((small.layer3.conv2.weight[own] == 0).float().mean()) == pytest.approx(0.9, abs=0.01)
    assert torch.equal(small.layer3.conv2.weight[~own], model.layer3.conv2.weight[~own])


def test_gradients_decide_where_a_criterion_scores_single_weights_by_them():
    model, graph = _traced(Perceptron)
    policy = Policy.of(graph, {"second": _nm(1, 4, "hessian")})
    gradient = torch.zeros(16, 24)
    gradient[:, 3::4] = 1
    small = prune(model, graph, policy, squared_gradients={"second.weight": gradient})
    assert bool((small.second.weight.view(16, 6, 4) != 0)[..., 3].all())
    assert int((small.second.weight != 0).sum()) == 16 * 6
    assert needs_squared_gradients(policy)
    by_size = prune(model, graph, policy)
    assert torch.equal(
        by_size.second.weight, prune(model, graph, Policy.of(graph, {"second": _nm(1, 4)})).second.weight
    )


@pytest.mark.parametrize(
    ("name", "own"),
    [("l1", "l1"), ("l2", "l1"), ("random", "l1"), ("taylor", "hessian"), ("hessian", "hessian"), ("lamp", "l1")],
)
def test_criteria_without_scores_for_single_weights_leave_it_to_magnitude(name, own):
    assert element_criterion(name) == own


def test_bits_of_a_bitmap_and_of_a_pattern_by_hand():
    zeroed = torch.tensor([[True, False, True, False, True, False, True, False, False, False]])
    # 10 flags and 6 values; or 2 blocks of 2 values with 2 bits each, and 2 values beyond.
    assert Mask(zeroed, 0, None).stored_bits(32) == 10 + 6 * 32
    assert Mask(zeroed, 0, (2, 4)).stored_bits(32) == 4 * (32 + 2) + 2 * 32
    assert Mask(zeroed, 0, (2, 4)).stored_bits(8) == 4 * (8 + 2) + 2 * 8
    assert Mask(torch.zeros(1, 8, dtype=torch.bool), 0, None).stored_bits(32) == 8 * 32
    saved = Masks({"w": Mask(zeroed, 0, (2, 4))}).saved_bytes(4)
    assert saved == 40 - math.ceil((4 * 34 + 64) / 8)


def test_masks_are_those_zeros_and_no_others():
    model, graph = _traced(Concatenated)
    with torch.no_grad():
        model.left.weight[0] = 0
    policy = Policy.of(graph, {"merge": _nm(2, 4)})
    masks = masks_of(prune(model, graph, policy), graph, policy)
    assert list(masks.of) == ["merge.weight"]
    assert masks.of["merge.weight"].pattern == (2, 4)
    assert not masks_of(model, graph, Policy.dense(graph))


def test_a_weight_brought_back_breaks_the_promise():
    model, graph = _traced(Perceptron)
    policy = Policy.of(graph, {"second": _nm(2, 4)})
    small = prune(model, graph, policy)
    masks = masks_of(small, graph, policy)
    with torch.no_grad():
        small.second.weight.fill_(1)
    assert not masks.hold(small)
    assert broken_promises(small, graph, policy) == ("second.weight",)
    masks.zero_(small)
    assert masks.hold(small)
    assert broken_promises(small, graph, policy) == ()


@pytest.mark.parametrize(
    "choice",
    [
        _nm(4, 4),
        Choice("weight", "l1", kept=3, of=7),
        Choice("channel", "l1", kept=2, of=4),
        Choice("none", None, 3, 16),
    ],
)
def test_a_choice_that_does_not_fit_its_group_is_refused(choice):
    model, graph = _traced(Perceptron)
    with pytest.raises(InputError, match="'second'"):
        prune(model, graph, Policy.of(graph, {"second": choice}))


def test_what_is_offered_depends_on_the_weights():
    wide = Group("a", 4, (), "exact", 0, weights=(Weight("a.weight", 0, (0, 1, 2, 3), (4, 8, 3, 3)),))
    narrow = Group("b", 4, (), "exact", 0, weights=(Weight("b.weight", 0, (0, 1, 2, 3), (4, 3, 3, 3)),))
    offers = {g.name: PRUNING_TYPES.get("nm").options(g, channel_multiple=8) for g in (wide, narrow)}
    assert offers == {"a": ((1, 4), (2, 4), (4, 8)), "b": ()}
    assert PRUNING_TYPES.get("weight").options(narrow, channel_multiple=8) == (
        (5, 108),
        (11, 108),
        (27, 108),
        (54, 108),
    )
