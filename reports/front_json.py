"""``front.json``: the front as plain data, the form that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..jsonfile import write_json

if TYPE_CHECKING:
    from ..search.run_folder import Run


def write_front_json(run: Run, path: Path | None = None) -> Path:
    """Write the run's front to ``path`` (``front.json`` in the run folder unless told) and return the path."""
    path = Path(run.path) / "front.json" if path is None else path
    write_json(path, run.front_document())
    return path
