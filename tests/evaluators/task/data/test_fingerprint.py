"""What tells one task's data from another's: what stays the same at each reading, and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset

from espalier import Task
from espalier.evaluators.task.data import batches, fingerprint_of_data, is_random
from espalier.evaluators.task.task_checks import check_task, data_fingerprint

from ...data_forms import COUNT, Column, Mapped, Streamed, X, Y, plain_network


def fingerprint(data, **others) -> str:
    task = Task(name="mine", model=plain_network, example_input=X[:1], train=data, validation=data, **others)
    return fingerprint_of_data(batches(data, name="train", task=task))


def augmented(count: int = COUNT, shift: float = 0.0) -> Mapped:
    return Mapped(lambda i: (X[i % COUNT] + shift + torch.randn(6), Y[i % COUNT]), count)


def rarely_augmented() -> Mapped:
    return Mapped(lambda i: (X[i] * (1 - 2 * (torch.rand(()) < 0.1)), Y[i]))


def test_augmented_samples_are_not_part_of_it():
    assert fingerprint(augmented()) == fingerprint(augmented()) == fingerprint(augmented(shift=1.0))
    assert fingerprint(augmented()) != fingerprint(augmented(count=39))


def test_rare_augmentation_is_seen():
    assert is_random(batches(rarely_augmented(), name="train"))


def test_what_stays_the_same_is_part_of_it():
    def fixed(shift: float = 0.0):
        return Mapped(lambda i: (X[i] + shift, Y[i]))

    assert fingerprint(fixed()) == fingerprint(fixed()) != fingerprint(fixed(1.0))


def test_a_loader_is_told_by_its_data_set_and_not_by_its_length():
    def loader(shift: float = 0.0, **others):
        return DataLoader(Mapped(lambda i: (X[i] + shift, Y[i])), **others)

    plain = fingerprint(loader())
    assert plain == fingerprint(loader(batch_size=7)) == fingerprint(loader(shuffle=True))
    assert plain != fingerprint(loader(shift=1.0))
    own = fingerprint(loader(collate_fn=lambda pairs: tuple(map(torch.stack, zip(*pairs, strict=True)))))
    assert own != fingerprint(
        loader(shift=1.0, collate_fn=lambda pairs: tuple(map(torch.stack, zip(*pairs, strict=True))))
    )


def test_a_collate_function_that_draws_changes_nothing():
    def masking(pairs):
        inputs, targets = map(torch.stack, zip(*pairs, strict=True))
        return inputs * (torch.rand_like(inputs) > 0.1), targets

    data = Mapped(lambda i: (X[i], Y[i]))
    assert fingerprint(DataLoader(data, collate_fn=masking)) == fingerprint(DataLoader(data, collate_fn=masking))


def test_parts_of_data_sets_are_told_by_which_and_of_what():
    whole = augmented()
    assert fingerprint(Subset(whole, range(10))) == fingerprint(Subset(augmented(), range(10)))
    assert fingerprint(Subset(whole, range(10))) != fingerprint(Subset(whole, range(1, 11)))
    assert fingerprint(ConcatDataset([whole, whole])) != fingerprint(augmented(2 * COUNT))


def test_arrays_of_all_forms_are_told_by_their_values():
    base = fingerprint((X, Y))
    assert base == fingerprint((X.numpy(), Y.numpy())) == fingerprint(TensorDataset(X, Y))
    assert base == fingerprint((Column(X), Column(Y)))
    assert base != fingerprint((X + 1, Y))
    assert fingerprint([(X[:20], Y[:20]), (X[20:], Y[20:])]) != fingerprint([(X[:20], Y[:20]), (X[20:] + 1, Y[20:])])


def test_streams_are_told_by_their_first_samples_where_these_stay():
    def stream(draw=lambda: 0.0, shift: float = 0.0):
        return fingerprint(Streamed(lambda i: (X[i] + shift + draw(), Y[i])), train_samples=COUNT)

    assert stream() == stream() != stream(shift=1.0)
    assert stream(lambda: torch.rand(()).item()) == stream(lambda: torch.rand(()).item(), shift=1.0)


class Files(Mapped):
    """A data set of files, augmented when read."""

    def __init__(self, root, listed: bool) -> None:
        super().__init__(lambda i: (X[i] + torch.randn(6), Y[i]))
        self.root = str(root)
        if listed:
            self.samples = [(str(path), 0) for path in sorted(root.iterdir())]


@pytest.mark.parametrize("listed", [True, False])
def test_files_are_told_by_names_and_sizes_wherever_they_lie(tmp_path, listed):
    def folder(place: str, size: int = 3, name: str = "b"):
        root = tmp_path / place / "images"
        root.mkdir(parents=True)
        (root / "a").write_bytes(b"12")
        (root / name).write_bytes(b"x" * size)
        return fingerprint(Files(root, listed))

    base = folder("one")
    assert base == folder("two")
    assert base != folder("three", size=4)
    assert base != folder("four", name="c")


def test_the_task_says_before_the_search_what_changes():
    def task(train, validation) -> Task:
        return Task(name="mine", model=plain_network, example_input=X[:1], train=train, validation=validation)

    fixed = Mapped(lambda i: (X[i], Y[i]))
    notes = check_task(task(augmented(), fixed))
    assert any("the training samples change at each reading" in note for note in notes)
    notes = check_task(task(fixed, augmented()))
    assert any("the validation samples change at each reading: so do accuracies" in note for note in notes)
    assert not any("change at each reading" in note for note in check_task(task(fixed, (X, Y))))
    assert data_fingerprint(task(augmented(), fixed)) == data_fingerprint(task(augmented(), fixed))
