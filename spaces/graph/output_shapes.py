"""The form of a network's outputs: which there are, of what shapes and types. A pruned network must keep it.

Tracing, every evaluation, export and verification compare it here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .outputs import found_in


@dataclass(frozen=True)
class OutputShape:
    """Where one output lies, and what it is."""

    place: str
    """Such as ``logits`` or ``aux.0``; empty where the output is the tensor itself."""
    shape: tuple[int | None, ...]
    """``None`` where the size depends on the values that come in, as of boxes that were found."""
    dtype: torch.dtype


@dataclass(frozen=True)
class OutputShapes:
    """The forms that outputs may have: several where the network decides by values what it returns."""

    forms: tuple[tuple[OutputShape, ...], ...]

    @classmethod
    def of(cls, outputs: Any) -> OutputShapes:
        """Return the one form that ``outputs`` have."""
        return cls((_form(outputs),))

    @classmethod
    def common(cls, found: Iterable[OutputShapes]) -> OutputShapes:
        """Return the forms of a network on several inputs that are shaped alike; sizes that vary are left open."""
        forms: list[tuple[OutputShape, ...]] = []
        for form in (form for each in found for form in each.forms):
            alike = next((i for i, other in enumerate(forms) if _alike(form, other)), None)
            if alike is None:
                forms.append(form)
            else:
                forms[alike] = tuple(map(_opened, forms[alike], form))
        return cls(tuple(forms))

    def objection(self, outputs: Any) -> str | None:
        """Return how the form of ``outputs`` differs from all these forms, or ``None`` where it is one of them."""
        found = _form(outputs)
        if not self.forms or any(_fits(found, form) for form in self.forms):
            return None
        return _difference(self.forms[0], found)


def _form(outputs: Any) -> tuple[OutputShape, ...]:
    return tuple(OutputShape(place, tuple(t.shape), t.dtype) for place, t in found_in(outputs).tensors)


def _alike(one: Sequence[OutputShape], other: Sequence[OutputShape]) -> bool:
    def kinds(form: Sequence[OutputShape]) -> list[Any]:
        return [(output.place, len(output.shape), output.dtype) for output in form]

    return kinds(one) == kinds(other)


def _opened(one: OutputShape, other: OutputShape) -> OutputShape:
    sizes = zip(one.shape, other.shape, strict=True)
    return OutputShape(one.place, tuple(a if a == b else None for a, b in sizes), one.dtype)


def _fits(found: Sequence[OutputShape], form: Sequence[OutputShape]) -> bool:
    return _alike(found, form) and all(
        wanted in (None, size)
        for output, open_ in zip(found, form, strict=True)
        for size, wanted in zip(output.shape, open_.shape, strict=True)
    )


def _difference(expected: Sequence[OutputShape], found: Sequence[OutputShape]) -> str:
    for wanted, given in zip(expected, found, strict=False):
        if not _fits([given], [wanted]):
            return f"{_words(given)} where the dense network has {_words(wanted)}"
    more, fewer = len(found), len(expected)
    return f"{more} output tensor{'' if more == 1 else 's'} where the dense network has {fewer}"


def _words(output: OutputShape) -> str:
    shape = ", ".join("?" if size is None else str(size) for size in output.shape)
    name = f"output {output.place}" if output.place else "an output"
    return f"{name} of shape ({shape}) and type {str(output.dtype).removeprefix('torch.')}"
