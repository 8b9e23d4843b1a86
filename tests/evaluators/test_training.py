"""Fine-tuning, recalibration and scoring on a task that can be learnt in a second."""

from __future__ import annotations

import copy
import dataclasses
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from espalier.errors import EvaluationError
from espalier.evaluators.training.batch_norm import recalibrate
from espalier.evaluators.training.fine_tune import fine_tune, shuffled_batches
from espalier.evaluators.training.schedules import SCHEDULES, factor
from espalier.evaluators.training.scoring import score


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_fine_tuning_learns(stripes_task):
    model = stripes_task.model()
    before = score(model, stripes_task, stripes_task.validation)
    tuned = fine_tune(model, stripes_task, 2_000, _generator())
    assert not tuned.training
    assert score(tuned, stripes_task, stripes_task.validation) > max(0.9, before)


@pytest.mark.parametrize("samples", [0, 1, 31, 32, 100, 512, 700])
def test_the_fidelity_is_kept_to_the_sample(stripes_task, samples):
    seen = sum(len(y) for _, y in shuffled_batches(stripes_task, samples, _generator()))
    # A last batch of one sample has no variance to train BatchNorm on, and is left out.
    assert seen == samples - (samples % 32 == 1)


def test_one_seed_gives_one_network_and_the_global_generator_is_untouched(stripes_task):
    task = dataclasses.replace(
        stripes_task, model=lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Dropout(), nn.Linear(32, 2))
    )
    start = task.model()
    state = torch.random.get_rng_state()
    first, second, third = (fine_tune(copy.deepcopy(start), task, 200, _generator(s)) for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first[1].weight, third[1].weight)


def test_divergence_is_an_error_with_its_remedy(stripes_task):
    task = dataclasses.replace(
        stripes_task, loss=lambda outputs, targets: F.cross_entropy(outputs, targets) * float("nan")
    )
    with pytest.raises(EvaluationError, match="Lower the task's learning_rate"):
        fine_tune(task.model(), task, 64, _generator())


def test_a_task_can_bring_its_own_loops(stripes_task):
    def tune(model, task, samples, generator):
        with torch.no_grad():
            model[-1].bias += samples
        return model

    task = dataclasses.replace(stripes_task, fine_tune=tune, evaluate=lambda model, data: float(model[-1].bias.mean()))
    model = task.model()
    before = float(model[-1].bias.mean())
    tuned = fine_tune(model, task, 7, _generator())
    assert score(tuned, task, task.validation) == pytest.approx(before + 7)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero():
    factors = [factor(SCHEDULES.get("cosine"), step, 100) for step in range(101)]
    assert factors.index(max(factors)) in (9, 10)
    assert max(factors) == 1.0
    assert factors[-1] == pytest.approx(0.0, abs=1e-12)
    assert all(b < a for a, b in itertools.pairwise(factors[10:]))


def test_recalibration_takes_the_mean_and_variance_of_the_inputs():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1)).eval()
    inputs = torch.randn(256, 3, generator=_generator()) * 5 + 2
    recalibrate(model, inputs.split(64))
    torch.testing.assert_close(model[0].running_mean, inputs.mean(0), atol=1e-4, rtol=1e-4)
    expected = torch.stack([part.var(0) for part in inputs.split(64)]).mean(0)
    torch.testing.assert_close(model[0].running_var, expected, atol=1e-4, rtol=1e-4)
    assert model[0].momentum == 0.1
    assert not model[0].training


def test_recalibration_of_a_network_without_batch_norm_reads_nothing():
    def unread():
        raise AssertionError("no input is needed")
        yield

    recalibrate(nn.Linear(2, 2), unread())


def test_accuracy_is_over_all_samples_at_once(stripes_task):
    model = stripes_task.model()
    x, y = stripes_task.validation
    by_hand = sum(int(model(x[i : i + 1]).argmax()) == int(y[i]) for i in range(len(y))) / len(y)
    assert score(model, stripes_task, stripes_task.validation) == pytest.approx(by_hand)
    assert score(model, stripes_task, (x[:50], y[:50])) == score(model, stripes_task, (x, y), limit=50)
    share = dataclasses.replace(stripes_task, metric=lambda outputs, targets: float(len(targets)))
    assert score(model, share, (x.repeat(3, 1, 1, 1), y.repeat(3))) == 600


def test_a_metric_that_is_no_number_is_an_error(stripes_task):
    task = dataclasses.replace(stripes_task, metric=lambda outputs, targets: float("nan"))
    with pytest.raises(EvaluationError, match="gave nan"):
        score(task.model(), task, task.validation)
