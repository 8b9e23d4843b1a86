"""What a network returns, in whatever form: every tensor in it is an output, wherever it lies.

Known containers are gone through by key or place; of other objects, the fields of a dataclass, ``__dict__`` and
``__slots__``. What cannot be looked into, such as a generator, holds outputs that nobody sees, and is told by its type.
"""

from __future__ import annotations

import enum
import functools
import types
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import nn

from ...errors import InputError, describe

_PLAIN = (
    type(None), str, bytes, type, enum.Enum, slice, range,
    np.dtype, torch.dtype, torch.device, torch.layout, torch.SymInt,
)  # fmt: skip
"""What holds no outputs. Modules are no outputs either, but what they compute later is not seen."""
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial)


@dataclass
class Found:
    """What lies in a network's outputs."""

    tensors: list[tuple[str, torch.Tensor]] = field(default_factory=list)
    """Each with where it lies, such as ``logits`` or ``aux.0``; empty where the output is the tensor itself."""
    numbers: list[tuple[str, float]] = field(default_factory=list)
    """Plain numbers and truth values, likewise."""
    unseen: list[tuple[str, str]] = field(default_factory=list)
    """What cannot be looked into: where it lies, and its type."""


def found_in(outputs: Any) -> Found:
    """Return every tensor and number in ``outputs``, in an order that depends on their form alone."""
    found = Found()
    _walk(outputs, "", found, set())
    return found


def output_tensors(outputs: Any) -> list[torch.Tensor]:
    """Return all tensors that a network returned, in whatever form."""
    return [tensor for _, tensor in found_in(outputs).tensors]


def check_seen(outputs: Any) -> None:
    """Refuse outputs in which no tensor is seen, or a part of which cannot be looked into.

    Raises:
        InputError: they hold none, or something such as a generator; its type is named.
    """
    found = found_in(outputs)
    for place, kind in found.unseen:
        raise InputError(
            describe(
                f"the network returns a {kind}{f' as {place}' if place else ''}, whose tensors cannot be seen",
                expected="tensors, in containers or objects of any kind",
                remedy="Return the tensors themselves: a list of what a generator yields, what a function would give.",
            )
        )
    if not any(tensor.numel() for _, tensor in found.tensors):
        what = "only tensors without elements" if found.tensors else "no tensor"
        raise InputError(
            describe(
                f"the network returns {what} (its output is a {_kind(outputs)})",
                expected="at least one tensor, by which a pruned network is compared with the dense one",
                remedy="Return what the network computes, or wrap it in a module that does.",
            )
        )


def _walk(item: Any, place: str, found: Found, seen: set[int]) -> None:
    tensor = _as_tensor(item)
    if tensor is not None:
        found.tensors.append((place, tensor))
    elif isinstance(item, bool | int | float | complex | np.number | np.bool_):
        found.numbers.append((place, float(abs(item)) if isinstance(item, complex) else float(item)))
    elif isinstance(item, torch.Tensor) and item.is_nested:
        _walk_all(enumerate(item.unbind()), place, found, seen)
    elif _opaque(item):
        found.unseen.append((place, _kind(item)))
    elif not _is_plain(item) and id(item) not in seen:
        # What holds itself, or is held twice, is gone through once.
        seen.add(id(item))
        _walk_all(_parts(item), place, found, seen)


def _walk_all(parts: Iterable[tuple[Any, Any]], place: str, found: Found, seen: set[int]) -> None:
    for name, part in parts:
        _walk(part, f"{place}.{name}" if place else str(name), found, seen)


def _as_tensor(item: Any) -> torch.Tensor | None:
    if isinstance(item, np.ndarray) and item.dtype.kind in "biufc":
        return torch.from_numpy(np.ascontiguousarray(item))
    return item if isinstance(item, torch.Tensor) and not item.is_nested else None


def _is_plain(item: Any) -> bool:
    return isinstance(item, (*_PLAIN, Number, nn.Module, types.ModuleType, *_FUNCTIONS, torch.Size, torch.Generator))


def _opaque(item: Any) -> bool:
    """Return whether an item may hold tensors that nobody sees before it is asked for them."""
    if isinstance(item, Iterator | types.CoroutineType | types.AsyncGeneratorType | torch.futures.Future):
        return True
    if isinstance(item, functools.partial | np.ndarray):
        return True
    if isinstance(item, types.MethodType):
        return not isinstance(item.__self__, type | nn.Module)
    if isinstance(item, types.FunctionType):
        return item.__closure__ is not None
    return not _is_plain(item) and not _is_container(item) and not _has_fields(item)


def _is_container(item: Any) -> bool:
    return isinstance(item, Mapping | tuple | list | Set | deque)


def _has_fields(item: Any) -> bool:
    return hasattr(item, "__dict__") or any("__slots__" in vars(kind) for kind in type(item).__mro__)


def _parts(item: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the parts of an object, each with its name; a dict's or list's own attributes after its entries."""
    if isinstance(item, Mapping):
        yield from item.items()
    elif isinstance(item, tuple) and isinstance(names := getattr(item, "_fields", None), tuple):
        yield from zip(names, item, strict=True)
    elif isinstance(item, Set):
        yield from enumerate(_in_order(item))
    elif isinstance(item, tuple | list | deque):
        yield from enumerate(item)
    entries = {id(part) for part in item.values()} if isinstance(item, Mapping) else set()
    # A ModelOutput of Hugging Face is a dict whose entries are its attributes as well.
    yield from ((name, part) for name, part in _fields(item).items() if id(part) not in entries)


def _fields(item: Any) -> dict[str, Any]:
    fields = dict(getattr(item, "__dict__", {}))
    for kind in type(item).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else tuple(slots):
            hidden = (
                f"_{kind.__name__.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name
            )
            if hidden not in ("__dict__", "__weakref__") and hasattr(item, hidden):
                fields.setdefault(hidden, getattr(item, hidden))
    return fields


def _in_order(items: Collection[Any]) -> list[Any]:
    """Return a set's members in an order that does not depend on where they lie in memory."""

    def key(item: Any) -> tuple[Any, ...]:
        if isinstance(item, torch.Tensor):
            return "", str(tuple(item.shape)), str(item.dtype), float(item.detach().double().sum())
        return type(item).__qualname__, str(item), "", 0.0

    return sorted(items, key=key)


def _kind(item: Any) -> str:
    return type(item).__qualname__ if type(item).__module__ == "builtins" else _qualified(type(item))


def _qualified(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
