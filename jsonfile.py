"""Plain JSON files that are either whole or absent: written beside their place, then renamed into it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .errors import RunFolderError, describe


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` to ``path`` so that a kill at any moment leaves the old file or the new one, never a part."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def read_json(path: Path, *, version: int = 1) -> dict[str, Any]:
    """Read a JSON object whose ``version`` field is ``version``.

    Raises:
        RunFolderError: the file is absent, torn, no object or of another version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunFolderError(
            describe(f"no file {path}", expected="a folder that Espalier wrote", remedy="Check the path.")
        ) from error
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no JSON, no UTF-8, or numbers without end
        raise RunFolderError(
            describe(
                f"{path} is torn or no JSON ({error})",
                expected="a whole JSON file",
                remedy="Restore it from a copy, or start a new run in another folder.",
            )
        ) from error
    found = content.get("version") if isinstance(content, dict) else None
    if found != version:
        raise RunFolderError(
            describe(
                f"{path} has version {found!r}",
                expected=f"a JSON object of version {version}",
                remedy="Use the Espalier that wrote it.",
            )
        )
    return content
