"""The formats of an export, by name: each in a file of its own.

``safetensors`` is none of them: weights and policy are always written, for :func:`~espalier.reports.load.load`.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from ...errors import unknown_name
from ...registry import Registry
from .base import ExportFormat
from .onnx import OnnxFormat
from .pt2 import Pt2Format

__all__ = ["ALWAYS", "DEFAULT", "FORMATS", "ExportFormat", "checked_formats", "formats_among"]

FORMATS: Registry[ExportFormat] = Registry("format", group="espalier.formats")
FORMATS.add("onnx", OnnxFormat())
FORMATS.add("pt2", Pt2Format())

ALWAYS = "safetensors"
"""May be named among the formats, and is written whatever they are."""
DEFAULT = ("onnx", "pt2", ALWAYS)


def checked_formats(names: Sequence[str]) -> tuple[str, ...]:
    """Return the formats asked for, each once, in the order in which they are written.

    Raises:
        UnknownNameError: there is no such format.
    """
    known = (*FORMATS.names(), ALWAYS)
    for name in names:
        if name not in known:
            raise unknown_name("format", name, known)
    return tuple(name for name in known if name in names)


def formats_among(files: Container[str]) -> tuple[str, ...]:
    """Return the formats whose files are there."""
    return tuple(name for name in FORMATS if FORMATS.get(name).file in files)
