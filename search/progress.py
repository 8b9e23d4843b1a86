"""How a search shows where it stands: not at all, as plain lines, or live on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table


@dataclass(frozen=True)
class Snapshot:
    """Where a search stands."""

    done: int
    """Distinct configurations evaluated, failed ones included."""
    failed: int
    total: int
    running: int
    front: int
    hypervolume: float
    best_score: float | None
    """Under the constraints."""
    elapsed: float
    """Seconds searched, those before a resume included."""
    remaining: float | None
    """Seconds expected until trials or budget are used up; ``None`` until one trial is done."""
    metric: str = "accuracy"
    """What the score is called."""

    def line(self) -> str:
        """Return the snapshot as one line."""
        best = "-" if self.best_score is None else f"{self.best_score:.4f}"
        return (
            f"{self.done}/{self.total} done, {self.failed} failed, front {self.front}, "
            f"hypervolume {self.hypervolume:.4f}, best {self.metric} {best}, "
            f"{clock(self.elapsed)} gone, {clock(self.remaining)} to go"
        )


class Progress(Protocol):
    """Shows snapshots as it sees fit. It is handed a function, as a snapshot costs time that few moments deserve."""

    def update(self, snapshot: Callable[[], Snapshot]) -> None:
        """Take note that something changed."""
        ...

    def message(self, text: str) -> None:
        """Show one line that matters by itself."""
        ...

    def stop(self) -> None:
        """Show the last state and leave the terminal as it was."""
        ...


class NoProgress:
    """Shows nothing."""

    def update(self, snapshot: Callable[[], Snapshot]) -> None:
        """Do nothing."""

    def message(self, text: str) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


class PlainProgress:
    """Writes a line from time to time, for logs and pipes."""

    def __init__(self, stream: TextIO | None = None, *, every_seconds: float = 10.0) -> None:
        self._stream = stream or sys.stderr
        self._every = every_seconds
        self._last = float("-inf")
        self._shown: str | None = None
        self._latest: Callable[[], Snapshot] | None = None

    def update(self, snapshot: Callable[[], Snapshot]) -> None:
        """Write a line if the last one is old enough."""
        self._latest = snapshot
        if time.monotonic() - self._last >= self._every:
            self._last = time.monotonic()
            self._write(snapshot().line())

    def message(self, text: str) -> None:
        """Write ``text``."""
        self._write(text)

    def stop(self) -> None:
        """Write the last state, unless it was the last line."""
        if self._latest is not None and (line := self._latest().line()) != self._shown:
            self._write(line)

    def _write(self, line: str) -> None:
        self._shown = line
        print(line, file=self._stream, flush=True)


class RichProgress:
    """A live table on a terminal."""

    def __init__(self, console: Console | None = None, *, every_seconds: float = 0.5) -> None:
        self._console = console or Console(stderr=True)
        self._every = every_seconds
        self._last = float("-inf")
        self._live: Live | None = None
        self._latest: Callable[[], Snapshot] | None = None

    def update(self, snapshot: Callable[[], Snapshot]) -> None:
        """Refresh the table if the last refresh is old enough."""
        self._latest = snapshot
        if time.monotonic() - self._last >= self._every:
            self._last = time.monotonic()
            self._show(snapshot())

    def message(self, text: str) -> None:
        """Print ``text`` above the table."""
        self._console.print(text, highlight=False)

    def stop(self) -> None:
        """Show the last state and end the live display."""
        if self._latest is not None:
            self._show(self._latest())
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _show(self, snapshot: Snapshot) -> None:
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        self._live.update(_table(snapshot), refresh=True)


def progress_for(stream: TextIO | None = None) -> Progress:
    """Return the live display where ``stream`` (stderr unless given) is a terminal, plain lines elsewhere."""
    target = stream or sys.stderr
    return RichProgress(Console(file=target)) if target.isatty() else PlainProgress(target)


def clock(seconds: float | None) -> str:
    """Return ``seconds`` as ``1:02:03`` or ``2:03``; a dash where unknown."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _table(snapshot: Snapshot) -> Table:
    table = Table(box=None, pad_edge=False)
    best = "-" if snapshot.best_score is None else f"{snapshot.best_score:.4f}"
    cells = {
        "done": f"{snapshot.done}/{snapshot.total}",
        "running": str(snapshot.running),
        "failed": str(snapshot.failed),
        "front": str(snapshot.front),
        "hypervolume": f"{snapshot.hypervolume:.4f}",
        f"best {snapshot.metric}": best,
        "gone": clock(snapshot.elapsed),
        "to go": clock(snapshot.remaining),
    }
    for name in cells:
        table.add_column(name, justify="right")
    table.add_row(*cells.values())
    return table
