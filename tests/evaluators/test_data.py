"""Batches from every form of data that a task may have."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from espalier.errors import TaskError
from espalier.evaluators.task.data import as_network_input, batches, fingerprint_of_data

X, Y = torch.arange(20).float().view(10, 2), torch.arange(10)
FORMS = {
    "tensors": (X, Y),
    "dataset": TensorDataset(X, Y),
    "loader": DataLoader(TensorDataset(X, Y), batch_size=4),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_sample_comes_once_with_its_target(form):
    found = batches(FORMS[form], name="train")
    assert found.samples == 10
    pairs = [(x[0].item(), y.item()) for xs, ys in found.walk(4) for x, y in zip(xs, ys, strict=True)]
    assert pairs == [(2.0 * i, i) for i in range(10)]


@pytest.mark.parametrize("form", ["tensors", "dataset"])
def test_shuffling_is_a_permutation_that_the_generator_decides(form):
    found = batches(FORMS[form], name="train")

    def order(seed: int) -> list[int]:
        return [int(y) for _, ys in found.walk(3, generator=torch.Generator().manual_seed(seed)) for y in ys]

    assert sorted(order(0)) == list(range(10))
    assert order(0) == order(0) != order(1)


@pytest.mark.parametrize("form", ["tensors", "dataset"])
def test_limit_bounds_the_samples(form):
    assert sum(len(ys) for _, ys in batches(FORMS[form], name="train").walk(4, limit=6)) == 6


def test_structures_of_inputs_are_sliced_together():
    found = batches(({"a": X, "b": Y}, Y), name="train")
    inputs, targets = next(found.walk(3))
    assert torch.equal(inputs["a"], X[:3])
    assert torch.equal(inputs["b"], targets)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((X, Y[:7]), "same number of samples"),
        ((X[:0], Y[:0]), "train data is empty"),
        (TensorDataset(X[:0], Y[:0]), "train data is empty"),
        (3, "train data of type int"),
    ],
)
def test_unusable_data_is_refused(data, message):
    with pytest.raises(TaskError, match=message):
        batches(data, name="train")


def test_bytes_become_floats_where_the_network_takes_floats():
    image = torch.tensor([[0, 255]], dtype=torch.uint8)
    assert as_network_input(image, torch.zeros(1, 2)).tolist() == [[0.0, 255.0]]
    assert as_network_input(image, torch.zeros(1, 2, dtype=torch.long)).dtype == torch.long
    assert as_network_input(torch.ones(1, 2), torch.zeros(1, 2, dtype=torch.long)).dtype == torch.float32


def test_the_fingerprint_sees_values_and_sizes():
    base = fingerprint_of_data(batches((X, Y), name="train"))
    assert base == fingerprint_of_data(batches((X.clone(), Y.clone()), name="train"))
    assert base != fingerprint_of_data(batches((X[:9], Y[:9]), name="train"))
    assert base != fingerprint_of_data(batches((X + 1, Y), name="train"))
