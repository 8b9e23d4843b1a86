"""Every form in which people have their data: the same samples come out, or it is refused by what it is."""

from __future__ import annotations

import collections
import pickle
import random
import warnings

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    RandomSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

from espalier import Task
from espalier.errors import TaskError
from espalier.evaluators.task.data import as_network_input, batches, count_of, is_random
from espalier.evaluators.task.task_checks import check_task
from espalier.evaluators.training.fine_tune import fine_tune, shuffled_batches
from espalier.evaluators.training.scoring import score
from espalier.spaces.inputs import tensors_of

from .data_forms import (
    COUNT,
    IDS,
    MASK,
    TABLE,
    Bag,
    Column,
    Mapped,
    Streamed,
    TwoInputs,
    X,
    Y,
    Z,
    padded,
    plain_network,
)

Fields = collections.namedtuple("Fields", "label image")
PLAIN = {
    "arrays": (X.numpy(), Y.numpy()),
    "double precision and int32": (X.double().numpy(), Y.int().numpy()),
    "unsigned targets": (X, Y.to(torch.uint8)),
    "targets of shape (n, 1)": (X, Y[:, None]),
    "a list of two": [X, Y],
    "plain lists": (X.tolist(), Y.tolist()),
    "columns of a table": (Column(X), Column(Y)),
    "read-only arrays": (np.broadcast_to(X.numpy(), X.shape), Y.numpy()[::1]),
    "a dict of columns": {"x": X, "y": Y},
    "a list of samples": [(X[i], int(Y[i])) for i in range(COUNT)],
    "a list of dicts": [{"x": X[i].numpy(), "y": int(Y[i])} for i in range(COUNT)],
    "two batches": [(X[:30], Y[:30]), (X[30:], Y[30:])],
    "batches as dicts": [{"x": X[:30], "y": Y[:30]}, {"x": X[30:39], "y": Y[30:39]}, {"x": X[39:], "y": Y[39:]}],
    "a data set": Mapped(lambda i: (X[i], Y[i])),
    "a data set of arrays and numbers": Mapped(lambda i: (X[i].numpy(), int(Y[i]))),
    "a data set of dicts": Mapped(lambda i: {"id": f"file {i}", "pixels": X[i], "labels": int(Y[i])}),
    "named fields, the target first": Mapped(lambda i: Fields(int(Y[i]), X[i])),
    "a tensor data set": TensorDataset(X, Y),
    "a subset": Subset(Mapped(lambda i: (X[i % COUNT], Y[i % COUNT]), 2 * COUNT), range(COUNT)),
    "data sets one behind the other": ConcatDataset([TensorDataset(X[:9], Y[:9]), TensorDataset(X[9:], Y[9:])]),
    "a loader": DataLoader(TensorDataset(X, Y), batch_size=13),
    "a shuffled loader that drops": DataLoader(
        Mapped(lambda i: (X[i], Y[i])), batch_size=13, shuffle=True, drop_last=True
    ),
    "a loader of single samples": DataLoader(Mapped(lambda i: (X[i], Y[i])), batch_size=None),
    "a loader with a batch sampler": DataLoader(
        Mapped(lambda i: (X[i], Y[i])), batch_sampler=BatchSampler(RandomSampler(range(COUNT)), 8, drop_last=False)
    ),
    "a loader that collates to arrays": DataLoader(
        TensorDataset(X, Y), batch_size=9, collate_fn=lambda b: (np.stack([x for x, _ in b]), [int(y) for _, y in b])
    ),
    "a stream": Streamed(lambda i: (X[i], Y[i])),
    "a loader of a stream": DataLoader(Streamed(lambda i: (X[i], Y[i])), batch_size=9),
}


def task_of(data, *, network=plain_network, example_input=X[:1], **others) -> Task:
    samples = {"train_samples": COUNT, "validation_samples": COUNT}
    return Task(
        name="mine",
        model=network,
        example_input=example_input,
        train=data,
        validation=data,
        **{"batch_size": 8, **samples, **others},
    )


def everything(task: Task, generator: torch.Generator | None = None):
    """Return all inputs, as the network takes them, and targets of the training data, as rows."""
    walk = list(batches(task.train, name="train", task=task).walk(8, generator=generator))
    shaped = [tensors_of(as_network_input(inputs, task.example_input)) for inputs, _ in walk]
    return [torch.cat(parts) for parts in zip(*shaped, strict=True)], torch.cat([targets for _, targets in walk])


@pytest.mark.parametrize("form", PLAIN)
def test_every_form_gives_the_same_samples(form):
    task = task_of(PLAIN[form])
    check_task(task)
    for generator in (None, torch.Generator().manual_seed(3)):
        (inputs,), targets = everything(task, generator)
        assert (inputs.dtype, targets.dtype) == (torch.float32, torch.int64)
        # Sorted by a value that tells the samples apart, as loaders have an order of their own.
        order, wanted = inputs[:, 0].argsort(), X[:, 0].argsort()
        torch.testing.assert_close(inputs[order], X[wanted])
        assert torch.equal(targets[order], Y[wanted])


@pytest.mark.parametrize("form", PLAIN)
def test_every_form_trains_and_is_scored(form):
    task = task_of(PLAIN[form])
    network = fine_tune(task.model(), task, 100, torch.Generator().manual_seed(0))
    right = (network(X).argmax(1) == Y).double().mean()
    assert score(network, task, task.validation) == pytest.approx(float(right))


TWO = {
    "tensors": ((X, Z), Y),
    "tensors in a row": (X, Z, Y),
    "a tensor data set": TensorDataset(X, Z, Y),
    "nested pairs": Mapped(lambda i: ((X[i], Z[i]), Y[i])),
    "tuples of three": Mapped(lambda i: (X[i], Z[i], Y[i])),
    "dicts, by the forward's arguments": Mapped(lambda i: {"right": Z[i], "left": X[i], "name": "x", "label": Y[i]}),
    "a loader": DataLoader(TensorDataset(X, Z, Y), batch_size=8),
    "a loader with a collate function": DataLoader(
        TensorDataset(X, Z, Y), batch_size=8, collate_fn=lambda b: tuple(map(torch.stack, zip(*b, strict=True)))
    ),
}


@pytest.mark.parametrize("form", TWO)
@pytest.mark.parametrize("named", [False, True])
def test_several_inputs(form, named):
    example = {"left": X[:1], "right": Z[:1]} if named else (X[:1], Z[:1])
    task = task_of(TWO[form], network=TwoInputs, example_input=example)
    if named and form not in ("dicts, by the forward's arguments",):
        with pytest.raises(TaskError, match=r"named inputs|expected inputs of the same form"):
            check_task(task)
        return
    check_task(task)
    inputs, targets = everything(task)
    assert torch.equal(inputs[0], X)
    assert torch.equal(inputs[1], Z)
    assert torch.equal(targets, Y)


TEXT = {
    "rows of plain values": TABLE,
    "columns": {"input_ids": IDS, "attention_mask": MASK, "labels": Y},
    "narrow types": ({"input_ids": IDS.int(), "attention_mask": MASK.bool(), "extra": MASK}, Y),
    "a loader that pads": DataLoader(TABLE, batch_size=8, collate_fn=padded, shuffle=True),
}


@pytest.mark.parametrize("form", TEXT)
def test_dicts_of_a_tokenizer(form):
    example = {"input_ids": IDS[:1], "attention_mask": MASK[:1]}
    task = task_of(TEXT[form], network=Bag, example_input=example)
    check_task(task)
    found = batches(task.train, name="train", task=task)
    for _ in range(2):  # a collate function that pops keys finds them again
        seen = torch.cat([targets for _, targets in found.walk(8)])
        assert torch.equal(seen.sort().values, Y.sort().values)
    inputs, _ = next(found.walk(8))
    assert list(as_network_input(inputs, example)) == ["input_ids", "attention_mask"]
    assert {tensor.dtype for tensor in as_network_input(inputs, example).values()} == {torch.int64}


REFUSED = {
    "text as targets": ((X, ["cat"] * COUNT), r"train data: its targets are text \('cat'\).*class indices"),
    "an array of text": ((X, np.array(["cat"] * COUNT)), r"text \('cat'\)"),
    "an array of objects": ((X, np.array([1, None] * 20, dtype=object)), "array of Python objects"),
    "dates": ((X, np.array(["2020-01-01"] * COUNT, dtype="datetime64[D]")), "datetime64"),
    "inputs alone": (X, r"type Tensor.*\(x, y\)"),
    "a table alone": (Column(X), r"type Column.*table\[features\]"),
    "a path": ("data/train", "type str"),
    "splits": ({"train": TensorDataset(X, Y)}, r"a dict of 'train' \(TensorDataset\).*data\['train'\]"),
    "an iterator": (((X[i], Y[i]) for i in range(COUNT)), "an iterator .generator., which can be walked once"),
    "samples without target": (Mapped(lambda i: X[i]), r"a tensor of shape \(6,\), without a target"),
    "a tensor data set without target": (TensorDataset(X), "a tuple of 1, without a target"),
    "a place beside": (
        Mapped(lambda i: (X[i], Y[i], i)),
        "tuples of 3, and .* the network takes 1 input",
    ),
    "dicts without target": (Mapped(lambda i: {"a": X[i], "class": 1}), "'a', 'class', none of which.*target_key="),
    "dicts with two": (Mapped(lambda i: {"a": X[i], "label": 1, "y": 2}), "label and y may be the target"),
    "dicts with two inputs": (Mapped(lambda i: {"a": X[i], "b": X[i], "y": 2}), "inputs 'a', 'b', and the network's"),
    "None": (Mapped(lambda i: (X[i], None)), "train sample 0: its targets are None"),
    "sizes that differ": (Mapped(lambda i: (X[i][: 5 + (i != 3)], Y[i])), r"train sample 3 is \(5,\).*collate_fn"),
    "a data set that fails": (Mapped(lambda i: (X[i], Y[i // (i != 31)])), "train sample 31 cannot be read .ZeroDiv"),
    "a sparse tensor": ((X.to_sparse(), Y), "sparse"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_by_what_it_is(case):
    data, words = REFUSED[case]
    with pytest.raises(TaskError, match=words) as refusal:
        check_task(task_of(data, train_samples=None))
    assert "\n" not in str(refusal.value)


def test_images_of_pil_are_refused():
    image = pytest.importorskip("PIL.Image").new("RGB", (4, 4))
    with pytest.raises(TaskError, match=r"train sample 0: its inputs are images of PIL.*ToTensor"):
        check_task(task_of(Mapped(lambda i: (image, 0))))


@pytest.mark.parametrize("data", [Streamed(lambda i: (X[i], Y[i])), DataLoader(Streamed(lambda i: (X[i], Y[i])))])
def test_a_stream_needs_a_stated_number_of_samples(data):
    with pytest.raises(TaskError, match=r"has no length; .*train_samples=10_000"):
        batches(data, name="train", task=task_of(data, train_samples=None))
    task = task_of(data, train_samples=12)
    assert batches(data, name="train", task=task).samples == 12
    assert sum(count_of(*pair) for pair in batches(data, name="train", task=task).walk(5)) == 12


def test_the_target_of_a_dict_can_be_named():
    data = Mapped(lambda i: {"klass": int(Y[i]), "labels": X[i]})
    task = task_of(data, target_key="klass")
    check_task(task)
    assert torch.equal(everything(task)[1], Y)
    with pytest.raises(TaskError, match="without the target_key 'class'"):
        check_task(task_of(data, target_key="class"))


def test_several_targets_of_a_dict():
    data = Mapped(lambda i: {"x": X[i], "depth": Z[i], "label": int(Y[i])})
    task = task_of(data, target_key=("depth", "label"))
    _, targets = next(batches(data, name="train", task=task).walk(COUNT))
    assert torch.equal(targets["depth"], Z)
    assert torch.equal(targets["label"], Y)


# What is read how often


def walk_twice(data, task):
    found = batches(data, name="train", task=task)
    return [[(inputs.clone(), targets) for inputs, targets in found.walk(8)] for _ in range(2)]


def test_a_data_set_that_stays_the_same_is_read_once():
    data = Mapped(lambda i: (X[i], Y[i]))
    task = task_of(data)
    first, second = walk_twice(data, task)
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(first, second, strict=True))
    assert max(collections.Counter(data.reads).values()) <= 2  # some are read twice to find out
    assert len(data.reads) <= COUNT + 32


def test_a_loader_of_its_own_reads_its_data_set_once():
    data = Mapped(lambda i: (X[i], Y[i]))
    weights = WeightedRandomSampler(torch.ones(COUNT), 100)
    loader = DataLoader(data, batch_size=10, sampler=weights)
    task = task_of(loader, train_samples=None)
    found = batches(loader, name="train", task=task)
    assert found.samples == 100
    for _ in range(4):
        assert sum(len(targets) for _, targets in found.walk(7)) == 100
    assert max(collections.Counter(data.reads).values()) <= 2


@pytest.mark.parametrize("draw", [lambda: torch.rand(()).item(), random.random, lambda: float(np.random.rand())])  # noqa: NPY002
def test_a_data_set_that_draws_is_read_anew_and_reproducibly(draw):
    data = Mapped(lambda i: (X[i] + draw(), Y[i]))
    task = task_of(data)
    found = batches(data, name="train", task=task)
    assert is_random(found)

    def drawn(seed: int) -> torch.Tensor:
        return torch.cat([inputs for inputs, _ in found.walk(8, generator=torch.Generator().manual_seed(seed))])

    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    assert states[:2] == after[:2]
    assert torch.equal(states[2], after[2])


def test_what_does_not_fit_is_read_anew():
    data = Mapped(lambda i: (X[i], Y[i]))
    task = task_of(data, kept_bytes=100)
    walk_twice(data, task)
    assert len(data.reads) >= 2 * COUNT
    assert any("GiB" in note for note in check_task(task))
    assert not any("GiB" in note for note in check_task(task_of(data, kept_bytes=0)))


def test_parts_share_the_memory():
    first, second = Mapped(lambda i: (X[i], Y[i])), Mapped(lambda i: (X[i], Y[i]))
    task = Task(
        name="mine",
        model=plain_network,
        example_input=X[:1],
        train=first,
        validation=second,
        kept_bytes=COUNT * 300,
    )
    kept = [batches(data, name="part", task=task).is_kept for data in (first, second)]  # pyright: ignore[reportAttributeAccessIssue]
    assert kept == [True, False]


def test_what_was_read_is_not_sent_to_other_processes():
    task = task_of((X, Y))
    batches(task.train, name="train", task=task)
    assert len(pickle.dumps(task.data)) < 200


# Batches that do not come out even


def test_a_last_batch_of_one_is_left_out_of_training():
    for data in ((X[:17], Y[:17]), DataLoader(TensorDataset(X[:17], Y[:17]), batch_size=8)):
        task = task_of(data, train_samples=None)
        sizes = [len(targets) for _, targets in shuffled_batches(task, 34, torch.Generator())]
        assert sizes == [8, 8, 8, 8]
        fine_tune(task.model(), task, 34, torch.Generator())


def test_batches_of_one_train_where_the_network_allows_it():
    task = task_of((X, Y), batch_size=1, network=lambda: torch.nn.Sequential(torch.nn.Linear(6, 5)))
    check_task(task)
    assert sum(1 for _ in shuffled_batches(task, 10, torch.Generator())) == 10


def test_a_stream_that_runs_dry_is_an_error_and_no_endless_loop():
    class Once(Streamed):
        def __iter__(self):
            return self._rest

    data = Once(lambda i: (X[i], Y[i]))
    data._rest = iter([(X[i], Y[i]) for i in range(COUNT)])
    with pytest.raises(TaskError, match=r"gave no sample; .*Begin anew in __iter__"):
        list(shuffled_batches(task_of(data), 1_000, torch.Generator()))


# The example input


@pytest.mark.parametrize(
    "example",
    [X[:8], (X[:8], Z[:8]), {"left": X[:8], "right": Z[:8]}, X[:8].numpy()],
    ids=["x", "tuple", "dict", "array"],
)
def test_an_example_input_of_several_samples_is_cut_to_one(example):
    with pytest.warns(UserWarning, match="is a batch of 8: its first sample is taken"):
        task = task_of((X, Y), example_input=example)
    for tensor in tensors_of(task.example_input):
        assert len(tensor) == 1
        assert tensor.untyped_storage().nbytes() == tensor.nbytes  # a copy: the other seven are not behind it


def test_an_example_input_whose_batch_is_not_known_stays():
    example = (X[:1], torch.zeros(2, 1, 4))  # a hidden state has its batch on axis 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert task_of((X, Y), example_input=example).example_input[1].shape == (2, 1, 4)
