"""Where results lie: one JSON file for each method, task, seed and budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espalier.jsonfile import read_json

from .tasks import folder_name


@dataclass(frozen=True)
class Job:
    """One thing to run."""

    folder: Path
    task: str
    method: str
    seed: int
    budget: float

    @property
    def path(self) -> Path:
        """Where its result lies once it is done."""
        return self.folder / f"{folder_name(self.task)}-{self.budget:g}s" / f"{self.method}-{self.seed}.json"

    @property
    def done(self) -> bool:
        """Whether it need not be run again."""
        return self.path.is_file()


def stored(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield every result in the folder."""
    for path in sorted(folder.glob("*/*-[0-9]*.json")):
        yield read_json(path)
