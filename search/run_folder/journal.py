"""The Optuna study of a run: a journal file in its folder, or a database elsewhere.

Optuna 5.0's journal reader skips a last line that a kill left torn, but the next append joins that line and makes both
unreadable; and its lock files outlive a killed process by a grace period of 30 seconds. So a torn tail is cut off
before a run is resumed, and the one lock is the kernel's, on the whole folder, which ends with its process.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import optuna
from optuna.storages.journal import JournalFileBackend

from ...errors import InputError, RunFolderError, describe
from .event_log import LOG, TRIAL_EVENTS, EventLog
from .run_info import RunInfo

try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None

JOURNAL = "study.journal"


class OneWriterJournal(JournalFileBackend):
    """Optuna's journal file, kept open by the one coordinator that writes it.

    :func:`exclusive` sees to there being only one.

    A line reaches the kernel before the call returns, so a killed process loses none. Only the line that ends a trial
    waits for the disk: a power cut then costs at most what was in flight.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._stream: BinaryIO = path.open("ab", buffering=0)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append one line per log."""
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        self._stream.write(text.encode("utf-8"))
        if any(log.get("datetime_complete") for log in logs):
            os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the run folder for one coordinator.

    Raises:
        RunFolderError: another live process holds it.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunFolderError(
                describe(
                    f"{folder} is being searched by another process",
                    expected="a run that nobody writes to",
                    remedy="Wait for it or stop it.",
                )
            ) from error
        yield
    finally:
        os.close(descriptor)


def repair(path: Path) -> int:
    """Cut a torn last line off the journal at ``path`` and return how many bytes that were.

    Call it while holding the folder (:func:`exclusive`).

    Raises:
        RunFolderError: a line before the last is torn, which no kill explains.
    """
    content = path.read_bytes() if path.exists() else b""
    lines = content.splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        if _whole(line):
            continue
        if number < len(lines):
            raise torn(path, f"line {number} of {len(lines)}")
        with path.open("r+b") as stream:
            stream.truncate(len(content) - len(line))
            os.fsync(stream.fileno())
        return len(line)
    return 0


@contextmanager
def study(folder: Path, info: RunInfo) -> Iterator[optuna.Study]:
    """Open the run's study for writing, creating it where there is none; call it while holding the folder.

    Raises:
        RunFolderError: the journal is torn, or gone though trials were made: the search would begin again in silence.
        InputError: the database cannot be opened.
    """
    refuse_missing(folder, info)
    storage = _open(folder, info.options.storage, write=True)
    try:
        _check_holds(storage, info, folder)
        yield optuna.create_study(
            study_name=info.study_name,
            storage=storage,
            directions=[o.direction for o in info.objectives],
            load_if_exists=True,
        )
    finally:
        storage.remove_session()


def load_study(folder: Path, info: RunInfo) -> optuna.Study:
    """Open the run's study for reading.

    Raises:
        RunFolderError: the journal is absent or torn, or has no such study.
        InputError: the database cannot be opened.
    """
    try:
        return optuna.load_study(study_name=info.study_name, storage=_open(folder, info.options.storage, write=False))
    except KeyError as error:
        raise RunFolderError(
            describe(
                f"no study {info.study_name!r} in {info.options.storage or folder / JOURNAL}",
                expected="the study that run.json names",
                remedy="Restore it from a copy, or start a new run in another folder.",
            )
        ) from error


def refuse_missing(folder: Path, info: RunInfo) -> None:
    """Refuse a run that has made trials where the file that holds them is gone; nothing is created.

    Raises:
        RunFolderError: it is gone.
    """
    place = _file_of(info.options.storage) if info.options.storage is not None else folder / JOURNAL
    known = known_trials(folder)
    if known and place is not None and not (place.exists() and place.stat().st_size):
        raise _lost(folder, info, known, "is empty" if place.exists() else "is gone")


def _check_holds(storage: optuna.storages.BaseStorage, info: RunInfo, folder: Path) -> None:
    known = known_trials(folder)
    if not known:
        return
    try:
        study_id = storage.get_study_id_from_name(info.study_name)
    except KeyError as error:
        raise _lost(folder, info, known, f"has no study {info.study_name!r}") from error
    held = {trial.number for trial in storage.get_all_trials(study_id, deepcopy=False)}
    if known - held:
        raise _lost(folder, info, known - held, f"holds {len(held)} trials")


def _lost(folder: Path, info: RunInfo, known: frozenset[int], what: str) -> RunFolderError:
    shown = ", ".join(map(str, sorted(known)[:5])) + (", ..." if len(known) > 5 else "")
    place = info.options.storage or folder / JOURNAL
    return RunFolderError(
        describe(
            f"{place} {what}, but {folder} was searched before: it knows of trials {shown}",
            expected="the study with these trials",
            remedy="Restore it from a copy, or start a new run in another folder.",
        )
    )


def known_trials(folder: Path) -> frozenset[int]:
    """Return trials that the other files of a run's folder say were made, whatever its study says."""
    found = {event.get("trial") for event in EventLog(folder / LOG).read() if event["event"] in TRIAL_EVENTS}
    for name in ("weights", "policies"):
        # Not the later ones: they may have been in flight in a power cut, with their journal lines not on disk yet.
        found |= set(sorted(int(path.stem) for path in (folder / name).glob("*") if path.stem.isdigit())[:1])
    return frozenset(number for number in found if isinstance(number, int))


def _file_of(url: str) -> Path | None:
    """Return the file of a database that is one; ``None`` for servers, and for what is no URL."""
    match = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", url)
    return None if match is None or match[1] == ":memory:" else Path(match[1])


def _open(folder: Path, url: str | None, *, write: bool) -> optuna.storages.BaseStorage:
    if url is not None:
        file = _file_of(url)
        if not write and file is not None and not file.exists():  # opening it would create it
            got = f"no file {file}"
            raise RunFolderError(describe(got, expected="the run's study", remedy="Restore it from a copy."))
        if not write:
            _refuse_strange(url)
        return _database(url)
    path = folder / JOURNAL
    if not write and not path.exists():
        raise RunFolderError(describe(f"no file {path}", expected="the run's study", remedy="Restore it from a copy."))
    backend = OneWriterJournal(path) if write else JournalFileBackend(str(path))
    try:
        return optuna.storages.JournalStorage(backend)
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise torn(path, f"{type(error).__name__}: {error}") from error


def torn(path: Path, what: str) -> RunFolderError:
    """Return the error of a file that is damaged."""
    return RunFolderError(
        describe(
            f"{path} is torn ({what})",
            expected="whole lines of JSON",
            remedy="Restore it from a copy, or start a new run in another folder.",
        )
    )


def _refuse_strange(url: str) -> None:
    """Refuse a database without studies: opening it would make tables in it, whosever it is.

    Raises:
        RunFolderError: it has none.
        InputError: it cannot be opened.
    """
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = create_engine(url)
        strange = not inspect(engine).has_table("studies")
        engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        last = str(error).strip().partition("\n")[0]
        raise InputError(
            describe(
                f"storage {url!r} cannot be opened ({last})",
                expected="a database URL",
                remedy="Check driver, host and rights.",
            )
        ) from error
    if strange:
        got = f"storage {url!r} holds no study of Optuna"
        raise RunFolderError(describe(got, expected="the run's study", remedy="Restore it from a copy."))


def _database(url: str) -> optuna.storages.BaseStorage:
    try:
        return optuna.storages.get_storage(url)
    except Exception as error:  # SQLAlchemy and each database driver have their own families
        last = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            describe(
                f"storage {url!r} cannot be opened ({last})",
                expected="a database URL",
                remedy="Check driver, host and rights.",
            )
        ) from error


def _whole(line: bytes) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return False
