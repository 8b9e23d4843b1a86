"""A kit's files, in a folder or in a zip file: written whole or not at all, read by name."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ....errors import InputError, describe

_EPOCH = (1980, 1, 1, 0, 0, 0)
_LEAST_BOMB = 2**26
_LARGEST_RATIO = 100
"""By how much a larger file may have been packed: weights hardly shrink."""


def sha256(content: bytes) -> str:
    """Return the hash that kits and results name files by."""
    return hashlib.sha256(content).hexdigest()


@contextmanager
def writing_kit(out: Path) -> Iterator[Path]:
    """Give a folder to write into, and make a kit of it at ``out``: a zip file if its name ends so, else a folder.

    Raises:
        InputError: ``out`` exists, or cannot be written.
    """
    if out.exists():
        raise InputError(describe(f"{out} exists already", expected="a new file or folder", remedy="Name another."))
    draft = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        draft.mkdir(parents=True)
        yield draft
        if out.suffix == ".zip":
            _zip(draft, out)
        else:
            draft.rename(out)
    except OSError as error:
        fault = f"{out} cannot be written ({error})"
        raise InputError(describe(fault, expected="a writable place", remedy="Name another.")) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _zip(folder: Path, out: Path) -> None:
    draft = out.with_name(f".{out.name}.{os.getpid()}.zip")
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            entry = zipfile.ZipInfo(f"{out.stem}/{path.name}", _EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    draft.replace(out)


def read_kit_file(kit: Path, name: str) -> bytes:
    """Return one file of a kit.

    Only what lies in the kit itself is read: plain names, no links, and nothing that unpacks to more than it can be.

    Raises:
        InputError: the kit is absent or damaged, lacks the file, or names one that is not its own.
    """
    try:
        fault = _foreign(kit, name)
        if fault is None and kit.is_dir():
            return (kit / name).read_bytes()
        if fault is None:
            with zipfile.ZipFile(kit) as archive:
                found = [entry for entry in archive.infolist() if entry.filename.rpartition("/")[2] == name]
                if len(found) == 1 and not _is_bomb(found[0]):
                    return archive.read(found[0])
            sizes = ", ".join(f"{entry.file_size} bytes of {entry.compress_size}" for entry in found)
            fault = f"{kit} holds {name} {len(found)} times ({sizes})"
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error) as error:
        fault = f"{name} of the kit {kit} cannot be read ({error})"
    raise InputError(describe(fault, expected="a kit as `espalier calibrate --kit` writes it", remedy="Pack it again."))


def _foreign(kit: Path, name: str) -> str | None:
    if not isinstance(name, str) or name in ("", ".", "..") or any(c in name for c in "/\\\0"):
        return f"{kit} names the file {name!r}"
    return f"{name} in {kit} is a link" if kit.is_dir() and (kit / name).is_symlink() else None


def _is_bomb(entry: zipfile.ZipInfo) -> bool:
    return entry.file_size > max(_LEAST_BOMB, _LARGEST_RATIO * entry.compress_size)
