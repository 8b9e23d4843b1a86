"""A kit's files, in a folder or in a zip file: written whole or not at all, read by name."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ....errors import InputError, describe

_EPOCH = (1980, 1, 1, 0, 0, 0)


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

    Raises:
        InputError: the kit is absent or damaged, or lacks the file.
    """
    try:
        if kit.is_dir():
            return (kit / name).read_bytes()
        with zipfile.ZipFile(kit) as archive:
            found = [entry for entry in archive.namelist() if entry.rpartition("/")[2] == name]
            if len(found) == 1:
                return archive.read(found[0])
        fault = f"{kit} holds {name} {len(found)} times"
    except (OSError, zipfile.BadZipFile) as error:
        fault = f"{name} of the kit {kit} cannot be read ({error})"
    raise InputError(describe(fault, expected="a kit as `espalier calibrate --kit` writes it", remedy="Pack it again."))
