"""Reads the pickled arrays of the standard CIFAR-10 folder without running anything that the file names.

A pickle may call whatever it likes. This reader gives it no real function at all: the few names that those files hold
stand for inert recorders defined here, and every other name is refused. Not even NumPy's own reconstruction is used, as
a hand-made dtype state can corrupt memory through it.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import TaskError, describe


class _DataType:
    """Stands for ``numpy.dtype``: keeps the type code."""

    __slots__ = ("code",)

    def __init__(self, code: object = None, *_: object) -> None:
        self.code = code.decode("ascii") if isinstance(code, bytes) else code

    def __setstate__(self, state: object) -> None:
        """Ignore byte order and flags, which say nothing about single bytes."""


class _Array:
    """Stands for ``numpy.ndarray``: takes shape and bytes from the state that NumPy pickles."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: object) -> None:
        match state:
            case (int(), tuple() as shape, _DataType(code="u1"), bool() | int() as by_columns, bytes() as content):
                if all(isinstance(n, int) and n >= 0 for n in shape) and math.prod(shape) == len(content):
                    flat = np.frombuffer(content, dtype=np.uint8)
                    self.value = flat.reshape(shape, order="F" if by_columns else "C")
                    return
        raise pickle.UnpicklingError("an array that does not hold bytes")


def _encode(text: object, encoding: object = None) -> bytes:
    """Stand for ``_codecs.encode``, which Python 3 writes for bytes in old protocols."""
    if not isinstance(text, str):
        raise pickle.UnpicklingError("bytes that are not written as text")
    return text.encode("latin1")


_ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("numpy._core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("numpy", "ndarray"): lambda *_: None,  # only named, as an argument of _reconstruct
    ("numpy", "dtype"): _DataType,
    ("_codecs", "encode"): _encode,
}

_MALFORMED = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
)
"""What the unpickler may raise on a torn or hostile file; CPython documents no narrower set."""


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        admitted = _ADMITTED.get((module, name))
        if admitted is None:
            raise pickle.UnpicklingError(f"the name {module}.{name}")
        return lambda *arguments: admitted(*arguments)  # a fresh one, so that a file cannot change ours through BUILD


def read_arrays(path: Path) -> dict[str, Any]:
    """Return the dictionary of one CIFAR batch file: numbers, texts, lists and uint8 arrays, by name.

    Raises:
        TaskError: the file holds anything else, is torn or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            content = _RestrictedUnpickler(stream, encoding="bytes").load()
    except OSError as error:
        raise _refused(path, str(error)) from error
    except _MALFORMED as error:
        raise _refused(path, str(error) or type(error).__name__) from error
    if not isinstance(content, dict):
        raise _refused(path, f"a {type(content).__name__}")
    return {_text(key): value.value if isinstance(value, _Array) else value for key, value in content.items()}


def _text(key: object) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)


def _refused(path: Path, found: str) -> TaskError:
    return TaskError(
        describe(
            f"{path} cannot be read safely: {found}",
            expected="one of CIFAR-10's batch files, holding only lists, texts and uint8 arrays",
            remedy="Unpack cifar-10-python.tar.gz again, or use the binary version, cifar-10-batches-bin.",
        )
    )
