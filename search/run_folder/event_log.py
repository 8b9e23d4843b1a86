"""``log.jsonl``: one event of a run per line, for people and for the run's clock."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

LOG = "log.jsonl"
_STARTS = ("started", "resumed")
TRIAL_EVENTS = ("trial finished", "trial failed")
"""Written once the study holds how a trial came out."""
DOUBT_EVENT = "direction doubted"
"""Says that the metric seems to improve in the wrong direction."""
BASELINE_EVENT = "baseline"
"""First word of events that are no part of the search, and whose time is not its time."""


class EventLog:
    """Appends events; each line holds ``event``, ``time`` (epoch seconds) and what belongs to the event."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, event: str, **details: Any) -> None:
        """Append one event."""
        line = json.dumps({"event": event, "time": round(time.time(), 3), **details})
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(f"{line}\n")

    def read(self) -> list[dict[str, Any]]:
        """Return all events; a line that a kill has torn is left out."""
        if not self._path.exists():
            return []
        events = (_event(line) for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines())
        return [event for event in events if event is not None]

    def end_torn_line(self) -> None:
        """End a last line that a kill has torn, so that the next event gets its own."""
        if self._path.exists() and (content := self._path.read_bytes()) and not content.endswith(b"\n"):
            with self._path.open("ab") as stream:
                stream.write(b"\n")


def searched_seconds(events: list[dict[str, Any]]) -> float:
    """Return how long a run was searched for: from each start or resume to the last event before the next one."""
    total = 0.0
    begin: float | None = None
    last = 0.0
    for event in events:
        if event["event"].startswith(BASELINE_EVENT):
            continue
        if event["event"] in _STARTS:
            total += 0.0 if begin is None else last - begin
            begin = event["time"]
        last = max(event["time"], begin or 0.0)
    return total + (0.0 if begin is None else last - begin)


def _event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except json.JSONDecodeError:
        return None
    valid = (
        isinstance(event, dict) and isinstance(event.get("event"), str) and isinstance(event.get("time"), (int, float))
    )
    return event if valid else None
