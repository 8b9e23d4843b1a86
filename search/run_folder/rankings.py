"""``rankings.json``: the order in which each group's channels are kept, found once for a run."""

from __future__ import annotations

from pathlib import Path

from ...errors import RunFolderError, describe
from ...jsonfile import read_json, write_json
from ...spaces.importance.rankings import Rankings

RANKINGS = "rankings.json"


def write_rankings(folder: Path, rankings: Rankings | None) -> None:
    """Write ``rankings.json``; a run without rankings has an empty one."""
    write_json(folder / RANKINGS, {"version": 1, "rankings": {} if rankings is None else rankings.to_dict()})


def read_rankings(folder: Path) -> Rankings | None:
    """Read ``rankings.json``; ``None`` where the run has no rankings.

    Raises:
        RunFolderError: it is absent, torn or malformed.
    """
    found = read_json(folder / RANKINGS).get("rankings")
    try:
        return Rankings.from_dict(found) if found else None
    except (KeyError, TypeError, AttributeError) as error:
        raise RunFolderError(
            describe(
                f"{folder / RANKINGS} holds no rankings ({error!r})",
                expected="what Espalier wrote",
                remedy="Restore it from a copy.",
            )
        ) from error
