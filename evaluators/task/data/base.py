"""What every form of data comes down to: a finite set of samples that can be walked in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch

from ....errors import TaskError, describe
from ....spaces.inputs import tensors_of

Batch = tuple[Any, Any]


class Batches(Protocol):
    """A finite set of samples that can be walked in batches."""

    @property
    def samples(self) -> int:
        """How many samples there are."""
        ...

    @property
    def batch_size(self) -> int | None:
        """The size of batches where the data have one of their own, as those of a ``DataLoader``."""
        ...

    def walk(
        self, batch_size: int, *, generator: torch.Generator | None = None, limit: int | None = None
    ) -> Iterator[Batch]:
        """Yield ``(inputs, targets)``; shuffled where ``generator`` is given, at most ``limit`` samples."""
        ...


def count_of(inputs: Any, targets: Any) -> int:
    """Return how many samples a batch holds."""
    found = tensors_of(targets) or tensors_of(inputs)
    return len(found[0]) if found and found[0].dim() else 1


def several(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yield batches without those of one sample, which give BatchNorm no variance; unless the first is such a one.

    The first is the largest: if it holds one sample, all do, and whoever wants that gets it.
    """
    for number, (inputs, targets) in enumerate(batches):
        if number == 0 or count_of(inputs, targets) > 1:
            yield inputs, targets


def refuse_missing(inputs: Any, where: str, example_input: Any) -> None:
    """Refuse inputs with missing values.

    Infinities pass where the example input has some, as masks that are added have.

    Raises:
        TaskError: a value is NaN or infinite.
    """
    for tensor in tensors_of(inputs):
        if not (tensor.is_floating_point() or tensor.is_complex()) or bool(torch.isfinite(tensor).all()):
            continue
        infinite = any(bool(torch.isinf(t).any()) for t in tensors_of(example_input) if t.is_floating_point())
        if bool(torch.isnan(tensor).any()) or not infinite:
            raise missing_value(where, tensor)


def missing_value(where: str, tensor: torch.Tensor) -> TaskError:
    """Return the error for a tensor that holds NaN or an infinity."""
    wrong = tensor[~torch.isfinite(tensor)]
    return TaskError(
        describe(
            f"{where} hold {float(wrong[0].real)} ({len(wrong)} of {tensor.numel()} values)",
            expected="finite numbers",
            remedy="Fill missing values in, or leave such samples out.",
        )
    )
