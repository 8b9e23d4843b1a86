"""Where a run may be written: a new folder, or one that holds a run to go on with."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import RunFolderError, describe
from .rankings import RANKINGS
from .run_info import RUN

_BEFORE_RUN = frozenset({".lock", RANKINGS, "policies", "weights"})
"""What a search that was killed before it wrote ``run.json`` may leave."""


def has_run(folder: Path) -> bool:
    """Return whether ``folder`` holds a run, be it torn."""
    return (folder / RUN).exists()


def check_target(folder: Path, *, resume: bool) -> None:
    """Check that a search may write to ``folder``; nothing is created or changed.

    Raises:
        RunFolderError: it holds something already, is no folder or cannot be written.
    """
    if folder.is_dir():
        _check_content(folder, resume=resume)
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise _unwritable(folder, "no folder" if not existing.is_dir() else "not writable", existing)


def create(folder: Path) -> None:
    """Create the run folder and what lies in it.

    Raises:
        RunFolderError: it cannot be written.
    """
    try:
        for name in ("policies", "weights"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        probe = folder / f".{os.getpid()}.tmp"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _unwritable(folder, error.strerror or str(error), folder) from error


def refuse_links(folder: Path) -> None:
    """Refuse a run folder with links where a search writes and deletes, wherever they lead.

    Raises:
        RunFolderError: one is a link.
    """
    for name in ("policies", "weights", "baselines", "study.journal", "log.jsonl"):
        if (folder / name).is_symlink():
            raise RunFolderError(
                describe(
                    f"{folder / name} is a link",
                    expected="a part of the run itself, as a search writes and deletes there",
                    remedy="Move what it leads to into its place.",
                )
            )


def _check_content(folder: Path, *, resume: bool) -> None:
    names = {path.name for path in folder.iterdir()}
    if has_run(folder) and not resume:
        raise RunFolderError(
            describe(
                f"{folder} holds a run already",
                expected="a new folder",
                remedy="Go on with it through --resume, or choose another --out.",
            )
        )
    foreign = {name for name in names if not name.endswith(".tmp")} - (_BEFORE_RUN if resume else set())
    if foreign and not has_run(folder):
        raise RunFolderError(
            describe(
                f"{folder} holds {', '.join(sorted(foreign)[:3])} but no {RUN}",
                expected="a new folder or a run",
                remedy="Choose another --out.",
            )
        )


def _unwritable(folder: Path, why: str, culprit: Path) -> RunFolderError:
    return RunFolderError(
        describe(
            f"{folder} cannot be written ({culprit}: {why})", expected="a folder to write to", remedy="Choose another."
        )
    )
