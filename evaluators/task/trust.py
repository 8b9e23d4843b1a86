"""Which task that a folder names may be imported: importing executes it, and a folder may come from anybody.

A search notes in the user's own state folder (``$XDG_STATE_HOME/espalier`` or ``~/.local/state/espalier``) which task
it was given, under the run's random name. Where a run's folder names the same task under the same name, that task is
what this user searched with here, wherever the folder lies now. Whatever else a folder names is imported only if the
user names it, or says that the folder is to be trusted. Kits for devices are known in the same way, by their hash.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path

from ...errors import InputError, RunFolderError, describe
from ...jsonfile import read_json, write_json
from .task_loading import is_built_in
from .task_reference import split_reference


def remember(run: str, reference: str | None) -> None:
    """Note that the user of this account searched the task ``reference`` in the run of that name."""
    if reference is None or is_built_in(reference):
        return
    path = _record(run)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json(path, {"version": 1, "run": run, "task": reference})
    except OSError as error:
        warnings.warn(
            f"{path} cannot be written ({error}), so later commands do not know this run for yours: `espalier export` "
            "will ask for --task or --trust. Set XDG_STATE_HOME to a folder that can be written.",
            stacklevel=2,
        )


def is_own(run: str, reference: str) -> bool:
    """Return whether the user of this account searched that task in the run of that name."""
    try:
        content = read_json(_record(run))
    except (InputError, OSError):
        return False
    return content.get("run") == run and content.get("task") == reference


def refuse_untrusted(reference: str, folder: Path, *, run: str, remedy: str) -> None:
    """Refuse to import what a run's folder names, unless it is Espalier's own or what the user searched with here.

    Args:
        reference: the task that the folder names.
        folder: the run's, or the kit's.
        run: the random name of the run, or the hash of the kit.
        remedy: what to do, for the message.

    Raises:
        RunFolderError: it may be somebody else's code.
    """
    if is_built_in(reference):
        return
    if _inside(reference, folder):
        why = "lies in that folder"
    elif not is_own(run, reference):
        why = "is not what you searched here"
    else:
        return
    got = f"{folder} names the task {reference!r}, which {why}, and importing it executes it"
    raise RunFolderError(describe(got, expected="a task that you name, or a folder that you trust", remedy=remedy))


def _inside(reference: str, folder: Path) -> bool:
    """Return whether importing ``reference`` would read a file of ``folder``."""
    location, _ = split_reference(reference)
    root = folder.resolve()
    # A module may be found in the folder that Python was started in.
    place = Path(location).expanduser().resolve() if location.endswith(".py") else Path.cwd()
    return place == root or root in place.parents


def _record(run: str) -> Path:
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    # Names of runs come from folders, too: no part of a path.
    return Path(state).expanduser() / "espalier" / "runs" / f"{hashlib.sha256(run.encode()).hexdigest()[:32]}.json"
