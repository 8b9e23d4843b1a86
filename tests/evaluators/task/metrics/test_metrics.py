"""Every built-in metric against numbers worked out by hand, however its batches are cut."""

from __future__ import annotations

import dataclasses
import math
from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.errors import EvaluationError, TaskError, UnknownNameError
from espalier.evaluators.task.metrics import METRICS, Positions, make_metric
from espalier.evaluators.task.metrics.base import Metric

SCORES = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 2.0, 0.0], [0.5, 0.0, 4.0]])
"""Largest: 0, 1, 1, 2."""
LABELS = torch.tensor([0, 1, 0, 1])


def value(name, outputs, targets, **positions) -> float:
    metric = make_metric(name, Positions(**positions))
    metric.update(outputs, targets)
    return float(metric.compute())


def test_accuracy_is_the_share_of_largest_logits():
    assert value("accuracy", SCORES, LABELS) == 0.5


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_one_logit_is_told_by_its_sign(shape):
    logits, labels = torch.tensor([0.3, -2.0, 1.0, -0.1]), torch.tensor([1, 0, 0, 1])
    assert value("accuracy", logits.view(shape), labels) == 0.5
    assert value("accuracy", logits.view(shape), labels.view(shape).float()) == 0.5
    # Of class 1: one right of two given and two wanted; of class 0 the same: F1 is 0.5 for both.
    assert value("macro-f1", logits.view(shape), labels) == 0.5
    # Pairs of a positive (0.3, -0.1) and a negative (-2, 1): 0.3 beats -2, -0.1 beats -2: two of four.
    assert value("auc", logits.view(shape), labels) == 0.5


def test_one_channel_of_logits_tells_a_mask_apart():
    logits = torch.tensor([[[[1.0, -1.0], [2.0, -3.0]]]])
    mask = torch.tensor([[[1, 0], [0, 0]]])
    # Background: 2 of 3; foreground: 1 of 2.
    assert value("miou", logits, mask) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert value("miou", logits, mask[:, None]) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert value("accuracy", logits, mask) == 0.75


def test_top_k_counts_a_target_among_the_largest():
    # Target ranks: first, first, second, third.
    assert value("top1", SCORES, LABELS) == 0.5
    assert value("top2", SCORES, LABELS) == 0.75
    assert value("Top-3", SCORES, LABELS) == 1.0
    assert value("top5", SCORES, LABELS) == 1.0  # of three classes


def test_macro_f1_is_the_mean_over_classes():
    # Predicted 0, 1, 1, 2 for 0, 1, 0, 1. Class 0: 2*1/(2+1); class 1: 2*1/(2+2); class 2: none right.
    assert value("macro_f1", SCORES, LABELS) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)


def test_classes_that_never_occur_have_no_say():
    scores = torch.nn.functional.one_hot(torch.tensor([0, 1, 1]), 5).float()
    assert value("macro-f1", scores, torch.tensor([0, 1, 1])) == 1.0
    assert value("miou", scores, torch.tensor([0, 1, 1])) == 1.0


def test_mean_iou_is_intersection_over_union():
    # Class 0: 1 of 2; class 1: 1 of 3; class 2: 0 of 1.
    assert value("mIoU", SCORES, LABELS) == pytest.approx((1 / 2 + 1 / 3 + 0) / 3)


def test_auc_counts_pairs_with_ties_for_half():
    scores, labels = torch.tensor([0.1, 0.4, 0.4, 0.8]), torch.tensor([0, 0, 1, 1])
    # 0.4 beats 0.1 and ties with 0.4; 0.8 beats both: 3.5 of 4.
    assert value("auc", scores, labels) == pytest.approx(3.5 / 4)
    # Only the order counts, also of logits so large that a sigmoid would make them equal.
    assert value("auc", torch.tensor([50.0, 60.0, 70.0]), torch.tensor([0, 0, 1])) == 1.0
    two = torch.stack((torch.zeros(4), scores), 1)
    assert value("auc", two, labels) == pytest.approx(3.5 / 4)


def test_regression_by_hand():
    given_, wanted = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[1.0], [4.0], [1.0]])
    assert value("rmse", given_, wanted) == pytest.approx(math.sqrt(13 / 3))
    assert value("MAE", given_, wanted) == pytest.approx(5 / 3)
    assert value("r2", given_, wanted) == pytest.approx(1 - 13 / 6)  # the targets' mean is 2
    assert value("R\u00b2", given_, wanted) == pytest.approx(1 - 13 / 6)


def test_a_column_of_outputs_is_not_broadcast_against_a_row_of_targets():
    assert value("rmse", torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 2.0])) == 0.0
    with pytest.raises(EvaluationError, match=r"shapes \(3, 2\) and \(3,\) do not fit"):
        value("rmse", torch.zeros(3, 2), torch.zeros(3))


def test_r_squared_keeps_its_digits_far_from_zero():
    wanted = 1e6 + torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.float64)
    metric = make_metric("r2", Positions())
    for part in wanted.split(1):
        metric.update(part + 0.5, part)
    assert metric.compute() == pytest.approx(1 - 4 * 0.25 / 5)


def test_perplexity_of_a_uniform_guess_is_the_number_of_words():
    assert value("perplexity", torch.zeros(2, 3, 7), torch.randint(7, (2, 3))) == pytest.approx(7)
    # One token at probability 3/4, one at 1/4.
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, math.log(3.0)]])
    assert value("perplexity", logits, torch.tensor([1, 0])) == pytest.approx(1 / math.sqrt(3 / 16))


@pytest.mark.parametrize("name", ["accuracy", "top2", "macro-f1", "miou", "perplexity", "auc"])
def test_ignored_positions_do_not_count(name):
    scores = torch.cat((SCORES, torch.randn(5, 3)))
    labels = torch.cat((LABELS, torch.full((5,), -100)))
    alone = value(name, SCORES, LABELS)
    assert value(name, scores, labels, ignore_index=-100) == pytest.approx(alone)
    mask = (labels >= 0).long()
    assert value(name, scores, {"labels": labels, "mask": mask}, mask="mask") == pytest.approx(alone)


def test_a_label_that_is_no_class_is_refused_with_the_remedy():
    with pytest.raises(EvaluationError, match=r"target -100 among 3 classes.*ignore_index=-100"):
        value("accuracy", SCORES, torch.tensor([0, 1, 2, -100]))
    with pytest.raises(EvaluationError, match="target 3 among 3 classes"):
        value("perplexity", SCORES, torch.tensor([0, 1, 2, 3]))


def test_classes_may_be_the_second_or_the_last_dimension():
    tokens, labels = torch.randn(2, 5, 3), torch.randint(3, (2, 5))
    wanted = float((tokens.argmax(-1) == labels).double().mean())
    assert value("accuracy", tokens, labels) == wanted
    assert value("accuracy", tokens.transpose(1, 2), labels) == wanted
    square, labels = torch.randn(2, 4, 4), torch.randint(4, (2, 4))
    with pytest.raises(EvaluationError, match="class_dim"):
        value("accuracy", square, labels)
    assert value("accuracy", square, labels, class_dim=-1) == float((square.argmax(-1) == labels).double().mean())
    assert value("accuracy", square, labels, class_dim=1) == float((square.argmax(1) == labels).double().mean())


def test_a_mask_covers_whole_steps_of_a_regression():
    values, wanted = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
    wanted[1, 2] = 100.0
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    assert value("rmse", values, {"target": wanted, "attention_mask": mask}, mask="attention_mask") == 1.0


Both = namedtuple("Both", "logits hidden")


@dataclass
class Output:
    """As transformers return it."""

    loss: torch.Tensor | None
    logits: torch.Tensor
    hidden: torch.Tensor


@pytest.mark.parametrize(
    "outputs",
    [
        Output(None, SCORES, torch.zeros(4, 9)),
        OrderedDict(hidden=torch.zeros(4, 9), logits=SCORES),
        Both(SCORES, torch.zeros(4, 9)),
        {"out": SCORES},
        (SCORES,),
        [SCORES, None],
    ],
)
def test_the_logits_are_found_in_structures(outputs):
    assert value("accuracy", outputs, LABELS) == 0.5


def test_outputs_that_do_not_say_which_counts_are_refused():
    with pytest.raises(EvaluationError, match="outputs with 0, 1"):
        value("accuracy", (SCORES, SCORES), LABELS)


def test_targets_that_do_not_say_which_counts_are_refused():
    with pytest.raises(EvaluationError, match="targets with a, b"):
        value("accuracy", SCORES, {"a": LABELS, "b": LABELS})
    with pytest.raises(EvaluationError, match="no mask 'attention_mask'"):
        value("accuracy", SCORES, {"labels": LABELS}, mask="attention_mask")


CUTS = st.lists(st.integers(1, 7), min_size=1, max_size=12)


@settings(max_examples=25, deadline=None)
@given(cuts=CUTS, seed=st.integers(0, 2**16), name=st.sampled_from([*METRICS.names(), "top3"]))
def test_batches_come_to_the_same_as_the_whole(cuts, seed, name):
    generator = torch.Generator().manual_seed(seed)
    count = sum(cuts)
    if name in ("rmse", "mae", "r2"):
        outputs = 100 + torch.randn(count, 2, generator=generator)
        targets = 100 + torch.randn(count, 2, generator=generator)
    else:
        outputs = torch.randn(count, 4, generator=generator).round(decimals=1)
        targets = torch.randint(-1, 4, (count,), generator=generator)
    metric = make_metric(name, Positions(ignore_index=-1))
    start = 0
    for size in cuts:
        metric.update(outputs[start : start + size], targets[start : start + size])
        start += size
    whole = make_metric(name, Positions(ignore_index=-1))
    whole.update(outputs, targets)
    assert float(metric.compute()) == pytest.approx(float(whole.compute()), rel=1e-9, nan_ok=True)


def test_batches_of_differing_length_are_taken():
    metric = make_metric("accuracy", Positions(ignore_index=-100))
    right = 0
    for length in (3, 8, 5):
        tokens, labels = torch.randn(2, length, 6), torch.randint(6, (2, length))
        metric.update(tokens, labels)
        right += int((tokens.argmax(-1) == labels).sum())
    assert metric.compute() == right / 32


def test_torchmetrics_agrees():
    torchmetrics = pytest.importorskip("torchmetrics")
    generator = torch.Generator().manual_seed(0)
    scores, labels = torch.randn(200, 5, generator=generator), torch.randint(5, (200,), generator=generator)
    rivals = {
        "accuracy": torchmetrics.Accuracy(task="multiclass", num_classes=5),
        "top3": torchmetrics.Accuracy(task="multiclass", num_classes=5, top_k=3, average="micro"),
        "macro-f1": torchmetrics.F1Score(task="multiclass", num_classes=5, average="macro"),
        "miou": torchmetrics.JaccardIndex(task="multiclass", num_classes=5),
        "auc": torchmetrics.AUROC(task="multiclass", num_classes=5),
    }
    for name, rival in rivals.items():
        assert value(name, scores, labels) == pytest.approx(float(rival(scores, labels)), abs=1e-6), name
    tokens, words = torch.randn(3, 7, 5, generator=generator), torch.randint(5, (3, 7), generator=generator)
    words[0, 3:] = -100
    rival = torchmetrics.text.Perplexity(ignore_index=-100)
    assert value("perplexity", tokens, words, ignore_index=-100) == pytest.approx(float(rival(tokens, words)), rel=1e-5)
    values, wanted = torch.randn(50, generator=generator), torch.randn(50, generator=generator)
    assert value("r2", values, wanted) == pytest.approx(float(torchmetrics.R2Score()(values, wanted)), abs=1e-5)
    rmse = torchmetrics.MeanSquaredError(squared=False)
    assert value("rmse", values, wanted) == pytest.approx(float(rmse(values, wanted)), abs=1e-6)


def test_a_metric_of_torchmetrics_is_taken_and_left_as_it_was():
    torchmetrics = pytest.importorskip("torchmetrics")
    given_ = torchmetrics.MeanAbsoluteError()
    assert isinstance(given_, Metric)
    given_.update(torch.ones(3), torch.zeros(3))
    assert value(given_, torch.zeros(4), torch.full((4,), 2.0)) == 2.0
    assert float(given_.compute()) == 1.0
    assert value(torchmetrics.MeanAbsoluteError, torch.zeros(4), torch.full((4,), 2.0)) == 2.0


def test_a_function_is_given_everything_at_once():
    seen = []
    metric = make_metric(lambda outputs, targets: seen.append((outputs.shape, targets.shape)) or 1.0, Positions())
    metric.update(torch.zeros(3, 2), torch.zeros(3))
    metric.update(torch.zeros(2, 2), torch.zeros(2))
    assert metric.compute() == 1.0
    assert seen == [((5, 2), (5,))]


def test_a_function_cannot_take_outputs_of_differing_lengths():
    metric = make_metric(lambda outputs, targets: 1.0, Positions())
    metric.update(torch.zeros(3, 5, 2), torch.zeros(3, 5))
    metric.update(torch.zeros(3, 8, 2), torch.zeros(3, 8))
    with pytest.raises(EvaluationError, match=r"differing shapes.*reset, update and compute"):
        metric.compute()


def test_unknown_names_come_with_near_ones():
    with pytest.raises(UnknownNameError, match="accuracy"):
        make_metric("acuracy", Positions())
    with pytest.raises(UnknownNameError):
        make_metric("top0", Positions())
    with pytest.raises(TaskError, match="metric of type int"):
        make_metric(3, Positions())


@pytest.mark.parametrize("name", METRICS.names())
def test_nothing_that_counts_gives_no_number(name):
    assert math.isnan(float(make_metric(name, Positions()).compute()))
    assert dataclasses.is_dataclass(Positions)
