"""How a task is referred to: a built-in name, ``path/to/file.py:name`` or ``package.module:name``."""

from __future__ import annotations

from pathlib import Path


def split_reference(reference: str) -> tuple[str, str]:
    """Return the file, module or built-in name of a reference, and the name inside it (empty where none is given)."""
    location, _, attribute = reference.rpartition(":") if ":" in reference else (reference, "", "")
    return location, attribute


def absolute_reference(reference: str) -> str:
    """Return ``reference`` with the path of a file made absolute, so that it is found from any folder later on."""
    location, attribute = split_reference(reference)
    if not location.endswith(".py"):
        return reference
    return f"{Path(location).expanduser().absolute()}:{attribute}".rstrip(":")
