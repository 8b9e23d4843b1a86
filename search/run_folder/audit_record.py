"""``audit.json``: what measuring says of candidates that were turned down for their predicted cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...errors import RunFolderError, describe
from ...jsonfile import read_json, write_json

AUDIT = "audit.json"


@dataclass(frozen=True)
class AuditedNetwork:
    """One network that was turned down, and measured all the same."""

    trial: int
    """The first that proposed it."""
    objection: str
    """Why it was turned down."""
    metrics: Mapping[str, float | None]
    """What it costs, measured; it was never trained."""
    wrongly: bool
    """Whether, as measured, it meets the constraints and is faster than those of its kind that keep more."""


@dataclass(frozen=True)
class Audit:
    """How far turning candidates down can be trusted."""

    turned_down: int
    """How many different networks were."""
    audited: tuple[AuditedNetwork, ...]
    """Those drawn at random from them."""

    @property
    def wrongly(self) -> int:
        """How many of those audited were turned down wrongly."""
        return sum(found.wrongly for found in self.audited)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``audit.json``."""
        return {"version": 1, "turned_down": self.turned_down, "audited": [asdict(found) for found in self.audited]}

    def write(self, folder: Path) -> None:
        """Write ``audit.json`` atomically."""
        write_json(folder / AUDIT, self.to_dict())


def read_audit(folder: Path) -> Audit | None:
    """Return the audit of the run in ``folder``; ``None`` where there is none.

    Raises:
        RunFolderError: it is torn or malformed.
    """
    path = folder / AUDIT
    if not path.exists():
        return None
    try:
        content = read_json(path)
        return Audit(int(content["turned_down"]), tuple(AuditedNetwork(**entry) for entry in content["audited"]))
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, RunFolderError):
            raise
        expected, remedy = "what Espalier wrote", "Delete it and resume."
        raise RunFolderError(describe(f"{path} is no audit ({error})", expected=expected, remedy=remedy)) from error
