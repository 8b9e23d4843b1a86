"""Tensors from the values that samples hold: arrays, numbers, lists of numbers, columns of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ....errors import TaskError, describe

_NUMBERS = (bool, int, float, complex, np.generic)
_TORCH_LACKS = {"uint16": "int64", "uint32": "int64", "uint64": "int64", "longdouble": "float64", "float128": "float64"}


def as_tensors(value: Any, where: str) -> Any:
    """Return ``value`` with tensors as its leaves.

    Dicts and tuples keep their structure, and so do lists of anything but numbers; a list of numbers is one tensor.

    Args:
        value: of a sample, of a batch or of all samples.
        where: what the value is, such as ``train's targets``, for messages.

    Raises:
        TaskError: a leaf is text, absent, an image file or anything else that is no number.
    """
    if isinstance(value, torch.Tensor):
        return _plain(value, where)
    if isinstance(value, Mapping):
        return {key: as_tensors(part, where) for key, part in value.items()}
    if isinstance(value, list) and _is_numeric(value):
        return _from_list(value, where)
    if isinstance(value, tuple | list):
        parts = [as_tensors(part, where) for part in value]
        return parts if isinstance(value, list) else tuple(parts)
    return _leaf(value, where)


def _plain(tensor: torch.Tensor, where: str) -> torch.Tensor:
    if tensor.layout != torch.strided or tensor.is_quantized or getattr(tensor, "is_nested", False):
        raise _refused(where, "sparse, nested or quantised tensors", "Make them dense, with .to_dense().")
    return tensor.detach().cpu()


def _leaf(value: Any, where: str) -> torch.Tensor:
    if isinstance(value, np.ndarray):
        return _from_array(value, where)
    if isinstance(value, np.generic):
        return _from_array(np.asarray(value), where)
    if isinstance(value, _NUMBERS):
        return torch.tensor(value)
    if isinstance(value, str | bytes):
        raise _refused(where, f"text ({_short(value)})", _NAMES)
    if value is None:
        raise _refused(where, "None", "Leave such samples out, or give them a number.")
    if type(value).__module__.partition(".")[0] == "PIL":
        kind = type(value).__name__
        raise _refused(
            where, f"images of PIL ({kind})", "Give the data set a transform that ends in tensors (ToTensor)."
        )
    if callable(getattr(value, "to_numpy", None)):
        return _from_array(np.asarray(value.to_numpy()), where)
    if hasattr(value, "__array__"):
        return _from_array(np.asarray(value), where)
    raise _refused(where, f"values of type {type(value).__name__}", "Turn them into tensors where they are read.")


_NAMES = "Turn names into class indices (0, 1, ...), and words into token ids, where they are read."


def _from_array(array: np.ndarray, where: str) -> torch.Tensor:
    if array.dtype.kind in "USO":
        first = next((item for item in array.ravel() if isinstance(item, str | bytes)), None)
        if first is not None:
            raise _refused(where, f"text ({_short(first)})", _NAMES)
        kind = type(array.ravel()[0]).__name__ if array.size else "nothing"
        raise _refused(where, f"an array of Python objects ({kind})", "Give it a numeric dtype, with .astype().")
    if array.dtype.kind not in "biufc":
        raise _refused(where, f"an array of {array.dtype}", "Turn it into numbers, with .astype('int64').")
    if array.dtype.name in _TORCH_LACKS:
        array = array.astype(_TORCH_LACKS[array.dtype.name])
    # PyTorch shares memory that may be written to and runs forward in the machine's byte order alone.
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    shared = array.flags.writeable and all(stride >= 0 for stride in array.strides)
    return torch.from_numpy(array if shared else array.copy())


def _from_list(value: list[Any], where: str) -> torch.Tensor:
    try:
        return torch.tensor(value)
    except (ValueError, TypeError) as error:
        fault = f"lists that are no array ({error})"
        raise _refused(where, fault, "Pad them to one length, or give a DataLoader whose collate_fn does.") from error


def _is_numeric(value: list[Any]) -> bool:
    """Return whether a list holds numbers, be it in lists of lists."""
    return bool(value) and all(
        isinstance(item, _NUMBERS) or (isinstance(item, list) and _is_numeric(item)) for item in value
    )


def is_text(value: Any) -> bool:
    """Return whether a value is text, or a list of texts: a name, a path or words beside what a network takes."""
    return isinstance(value, str | bytes) or (
        isinstance(value, list | tuple) and bool(value) and all(isinstance(item, str | bytes) for item in value)
    )


def _short(value: str | bytes) -> str:
    return repr((str(value) if isinstance(value, str) else bytes(value))[:24])


def _refused(where: str, what: str, remedy: str) -> TaskError:
    return TaskError(describe(f"{where} are {what}", expected="numbers, as tensors or arrays", remedy=remedy))


def equal(one: Any, other: Any) -> bool:
    """Return whether two readings of a sample hold the same values."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            return False
        return bool(((one == other) | (torch.isnan(one) & torch.isnan(other))).all())
    if isinstance(one, np.ndarray):
        return (one.shape, one.dtype) == (other.shape, other.dtype) and one.tobytes() == other.tobytes()
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(equal, one, other))
    if callable(to_bytes := getattr(one, "tobytes", None)):
        return to_bytes() == other.tobytes()
    return bool(one == other) or str(one) == str(other) == "nan"


def size_in_bytes(value: Any) -> int | None:
    """Return about how much memory a sample takes; ``None`` where that cannot be told."""
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        return value.nbytes + 64
    if isinstance(value, _NUMBERS) or value is None:
        return 32
    if isinstance(value, str | bytes):
        return len(value) + 64
    if isinstance(value, Mapping | tuple | list):
        sizes = [size_in_bytes(part) for part in (value.values() if isinstance(value, Mapping) else value)]
        return None if None in sizes else sum(size for size in sizes if size is not None) + 64
    return None
