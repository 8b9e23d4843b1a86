"""What is wrong with a task's data, found before a search and told by what the data are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ...errors import TaskError, describe
from ...spaces.inputs import map_tensors, tensors_of
from .data import PARTS, Batches, DatasetBatches, TensorBatches, batches, count_of, is_cross_entropy, is_random
from .data.base import missing_value, refuse_missing
from .data.datasets import Moment
from .data.network_input import one_example
from .task import Task
from .task_measure import is_regression

_CHUNK = 1024


def parts_of(task: Task) -> Iterator[tuple[str, Batches]]:
    """Yield the names of a task's parts and their batches.

    Raises:
        TaskError: a part is missing, empty or of a kind that cannot be used.
    """
    for name in PARTS:
        data = getattr(task, name)
        if data is not None:
            yield name, batches(data, name=name, task=task)
        elif name != "test":
            raise TaskError(
                describe(f"task {task.name!r} has no {name} data", expected="data", remedy=f"Give {name}=.")
            )


@dataclass
class Looked:
    """What looking through one part of the data told, before any network saw it."""

    name: str
    targets: Any = None
    """Of the first batch."""
    missing: tuple[int, Any, Any] | None = None
    """The first sample with a missing value among its targets: its place, and inputs and targets as a batch of 1."""
    classes: dict[int, int] = field(default_factory=dict)
    """Where the smallest and the largest whole number among the targets was first seen."""
    is_double: bool = False


def look_through(task: Task) -> tuple[Looked, ...]:
    """Walk every part of the data for a moment, and check that inputs are of the example input's kind and all there.

    Raises:
        TaskError: a part is missing, empty or of a kind that cannot be used, or an input holds a missing value.
    """
    return tuple(_looked(name, found, task) for name, found in parts_of(task))


def _looked(name: str, found: Batches, task: Task) -> Looked:
    looked = Looked(name)
    for begin, inputs, targets in _moment(found):
        if begin == 0:
            looked.targets = targets
            looked.is_double = any(tensor.dtype == torch.float64 for tensor in tensors_of(inputs))
            _check_kind(name, inputs, one_example(task.example_input))
        _refuse_missing(inputs, begin, name, task)
        rows = [row for tensor in tensors_of(targets) if (row := first_missing(tensor)) is not None]
        if rows and looked.missing is None:
            row = min(rows)
            looked.missing = begin + row, _row(inputs, row), _row(targets, row)
        if isinstance(targets, torch.Tensor) and not targets.is_floating_point() and targets.numel():
            _note_classes(looked, targets, begin, ignored_class(task))
    return looked


def _refuse_missing(inputs: Any, begin: int, name: str, task: Task) -> None:
    """Refuse the first of a batch's samples with a missing value."""
    for tensor in tensors_of(inputs):
        if (row := first_missing(tensor)) is not None:
            refuse_missing(tensor[row], f"{name} sample {begin + row}: its inputs", task.example_input)


def _note_classes(looked: Looked, targets: torch.Tensor, begin: int, ignored: int) -> None:
    rows = targets.reshape(len(targets), -1)
    counted = rows[rows != ignored]
    for value in (int(counted.min()), int(counted.max())) if counted.numel() else ():
        if value not in looked.classes:
            looked.classes[value] = begin + int((rows == value).any(1).nonzero()[0])


def ignored_class(task: Task) -> int:
    """Return the class whose places a task's cross-entropy leaves out."""
    if task.ignore_index is not None:
        return task.ignore_index
    return getattr(task.loss, "ignore_index", getattr(task.loss, "keywords", {}).get("ignore_index", -100))


def first_missing(tensor: torch.Tensor) -> int | None:
    """Return the first row with NaN or an infinity."""
    if not tensor.is_floating_point() or not tensor.numel() or not tensor.dim():
        return None
    wrong = ~torch.isfinite(tensor).reshape(len(tensor), -1).all(1)
    return int(wrong.nonzero()[0]) if bool(wrong.any()) else None


def missing_target(looked: Looked) -> TaskError:
    """Return the error for the first target that is missing."""
    row, _, targets = looked.missing or (0, None, None)
    wrong = next(tensor for tensor in tensors_of(targets) if first_missing(tensor) is not None)
    return missing_value(f"{looked.name} sample {row}: its targets", wrong)


def check_targets(parts: Sequence[Looked], task: Task, outputs: Any) -> None:
    """Check that targets are what cross-entropy, and accuracy, compare with outputs of this form.

    Raises:
        TaskError: they are shares of classes, of another shape, or classes that the network has no output for.
    """
    by_class = is_cross_entropy(task.loss) and not is_regression(task) and task.fine_tune is None
    if not isinstance(outputs, torch.Tensor) or outputs.dim() < 2 or not (by_class or task.metric == "accuracy"):
        return
    if outputs.shape[1] == 1 and by_class:
        return  # one logit: its sign tells two classes apart
    for looked in parts:
        if not isinstance(looked.targets, torch.Tensor):
            continue
        last = outputs.dim() > 2 and (task.class_dim == -1 or looked.targets.shape[1:] == outputs.shape[1:-1])
        found = outputs.movedim(-1, 1) if last and task.class_dim != 1 else outputs
        _check_shape(looked.name, looked.targets, found, task)
        if by_class and not looked.targets.is_floating_point():
            _check_range(looked, found.shape[1])


def _check_shape(name: str, targets: torch.Tensor, outputs: torch.Tensor, task: Task) -> None:
    count, classes = outputs.shape[1], (*outputs.shape[:1], *outputs.shape[2:])
    if classes[1:] == targets.shape[1:] or (count == 1 and not is_cross_entropy(task.loss)):
        if not targets.is_floating_point() or not is_cross_entropy(task.loss):
            return
        remedy = "Turn them into int64, with .long()."
    elif outputs.shape[1:] == targets.shape[1:]:
        if targets.is_floating_point() and task.metric != "accuracy":
            return
        remedy = "Take the index of the largest, with .argmax(1)."
    elif targets.shape[1:] == (1,):
        remedy = "Take the second axis away, with .squeeze(1)."
    else:
        if task.metric != "accuracy":
            return
        remedy = "Check targets, and what the network returns."
    kind = str(targets.dtype).removeprefix("torch.")
    raise TaskError(
        describe(
            f"{name} targets are {kind} of shape {('samples', *targets.shape[1:])}, outputs have the shape "
            f"{('samples', *outputs.shape[1:])}".replace("'", ""),
            expected="class indices, whole numbers, one for each place of the outputs",
            remedy=remedy,
        )
    )


def _check_range(looked: Looked, classes: int) -> None:
    wrong = [value for value in looked.classes if not 0 <= value < classes]
    if not wrong:
        return
    value = wrong[0]
    remedy = "Count classes from 0." if value == classes else "Check how classes are numbered, and the network's head."
    raise TaskError(
        describe(
            f"{looked.name} sample {looked.classes[value]} is of class {value}, the network has {classes} outputs",
            expected=f"classes from 0 to {classes - 1}",
            remedy=remedy,
        )
    )


def notes_on_data(parts: Sequence[Looked], task: Task) -> tuple[str, ...]:
    """Return what a user should know of the data before a search: what is cast, what changes, what is not kept."""
    notes = []
    for name, found in parts_of(task):
        if is_random(found):
            notes.append(_random_note(name))
        elif isinstance(found, DatasetBatches) and not found.is_kept and task.kept_bytes:
            size = (found.probe.size or 0) * found.samples / 2**30
            notes.append(
                f"the {name} samples take about {size:.1f} GiB, more than may be kept ({task.kept_bytes / 2**30:.1f} "
                "GiB, kept_bytes): they are read anew for each candidate"
            )
    notes += [
        f"the {looked.name} inputs are float64: they are cast to float32, which the network takes"
        for looked in parts
        if looked.is_double
    ]
    train = batches(task.train, name="train", task=task)
    size = train.samples
    if task.batch_size > size and train.batch_size is None and task.fine_tune is None:
        notes.append(f"batch_size is {task.batch_size}, and there are {size} training samples: a step takes them all")
    return tuple(notes)


def _random_note(name: str) -> str:
    if name == "train":
        return (
            "the training samples change at each reading, as augmented ones do: they are read anew for each "
            "candidate, and the run is told by type, number and files of them"
        )
    return (
        f"the {name} samples change at each reading: so do accuracies taken on them. "
        "Leave random changes to the training data"
    )


def _moment(found: Batches) -> Iterator[tuple[int, Any, Any]]:
    """Yield batches, from the beginning, with the place of their first sample; for a moment."""
    _ = getattr(found, "probe", None)  # reading samples twice has a time of its own
    moment, row = Moment(), 0
    size = _CHUNK if isinstance(found, TensorBatches) else 8
    for inputs, targets in found.walk(size):
        yield row, inputs, targets
        row += count_of(inputs, targets)
        if moment.is_over:
            return


def _row(structure: Any, row: int) -> Any:
    return map_tensors(lambda t: t[row : row + 1] if t.dim() else t, structure)


def _check_kind(name: str, inputs: Any, example: Any) -> None:
    given, wanted = tensors_of(inputs), tensors_of(example)
    for tensor, like in zip(given, wanted, strict=False):
        shapes = f"{name} inputs have the shape {('samples', *tensor.shape[1:])}".replace("'", "")
        if tensor.dim() == like.dim() + 1:
            raise TaskError(
                describe(
                    f"{shapes}, example_input {tuple(like.shape)}",
                    expected="an example_input with an axis for the batch",
                    remedy="Give it as x[:1], or with .unsqueeze(0).",
                )
            )
        if tensor.dim() != like.dim() and like.dim() and tensor.dim():
            raise TaskError(
                describe(
                    f"{shapes}, example_input {tuple(like.shape)}",
                    expected="as many axes in both",
                    remedy="Bring the samples into the form that the network takes, or give another example_input.",
                )
            )
        if tensor.is_floating_point() and not like.is_floating_point():
            raise TaskError(
                describe(
                    f"{name} inputs are {tensor.dtype}, example_input is {like.dtype}".replace("torch.", ""),
                    expected="whole numbers in both, or floating ones",
                    remedy="Turn ids into int64 where they are read, or give the example_input that the network takes.",
                )
            )
