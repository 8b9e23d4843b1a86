"""The files of an export as they lie there: plain names, digests, and contents that are read and not executed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..jsonfile import read_json
from .load import read_weights
from .manifest import ONNX, ONNX_INT8, POLICY, PT2, RANKINGS, WEIGHTS, Manifest, digest
from .onnx_file import check_onnx
from .pt2_archive import UnsafeFileError, read_pt2
from .pt2_program import NotComputedError, Pt2Program


@dataclass(frozen=True)
class FileFinding:
    """What was found of one file."""

    name: str
    claimed: str | None
    """Its digest in the manifest."""
    found: str | None
    fault: str
    """Empty where it is as claimed."""


def digests(manifest: Manifest, folder: Path) -> Iterator[FileFinding]:
    """Compare every file with the manifest; a name that leads out of the folder is not followed."""
    for name, entry in manifest.files.items():
        claimed = entry.get("sha256") if isinstance(entry, Mapping) else None
        if (fault := _misplaced(name, folder)) is not None:
            yield FileFinding(str(name), _text(claimed), None, fault)
            continue
        path = folder / name
        found = digest(path) if path.is_file() else None
        missing = "the file is missing" if found is None else "the file was altered"
        yield FileFinding(name, _text(claimed), found, "" if found == claimed and found is not None else missing)
    for name in (ONNX, ONNX_INT8, PT2, WEIGHTS, POLICY, RANKINGS):
        if name not in manifest.files and (folder / name).exists():
            yield FileFinding(name, None, None, "the manifest does not list it")


def contents(manifest: Manifest, folder: Path, *, trust: bool) -> Iterator[FileFinding]:
    """Look into every file that is loaded later on; with ``trust`` not into ``model.pt2``, which PyTorch then loads."""
    for name, check in _CHECKS.items():
        if name in manifest.files and not (trust and name == PT2):
            try:
                check(folder / name)
            except UnsafeFileError as error:
                yield FileFinding(name, None, None, str(error))
            except InputError as error:
                yield FileFinding(name, None, None, f"it cannot be read: {error}")
            else:
                yield FileFinding(name, None, None, "")


def _check_pt2(path: Path) -> None:
    with suppress(NotComputedError):  # told later, as what is not checked
        Pt2Program(read_pt2(path))


_CHECKS: Mapping[str, Callable[[Path], Any]] = {
    ONNX: check_onnx,
    ONNX_INT8: check_onnx,
    PT2: _check_pt2,
    WEIGHTS: read_weights,
    POLICY: read_json,
    RANKINGS: read_json,
}


def _misplaced(name: object, folder: Path) -> str | None:
    if not isinstance(name, str) or name in ("", ".", "..") or any(c in name for c in "/\\\0"):
        return "no plain file name"
    if (folder / name).is_symlink():
        return "a link, no file of this folder"
    return None


def _text(value: object) -> str | None:
    return None if value is None else str(value)
