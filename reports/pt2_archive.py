"""Reads the archive ``model.pt2`` without pickle: what it holds is told by name, and tensors are bytes.

``torch.export.load`` unpickles sample inputs, custom objects and whatever an archive says is pickled, evaluates the
texts of its sizes and guards, and loads shared objects that lie in it. None of that happens here.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError, describe

_KNOWN = re.compile(
    r"(data/weights/(weight_\d+|model_weights_config\.json)|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|models/model\.json|data/sample_inputs/model\.pt|archive_format|archive_version|byteorder"
    r"|\.data/(version|serialization_id)|\.format_version|\.storage_alignment)"
)
_SAMPLES = "data/sample_inputs/model.pt"
_PROGRAM = "models/model.json"
_PLACES = {
    "data/weights": "data/weights/model_weights_config.json",
    "data/constants": "data/constants/model_constants_config.json",
}


class UnsafeFileError(InputError):
    """A file that only something that executes what it says could read."""


@dataclass(frozen=True)
class Pt2Archive:
    """What an archive holds: plain data and tensors."""

    program: Mapping[str, Any]
    """The graph, its signature and sizes, as ``torch.export`` serialises them."""
    weights: Mapping[str, torch.Tensor]
    """Parameters and persistent buffers, by name."""
    constants: Mapping[str, torch.Tensor]
    """Other tensors of the graph, by name."""


def read_pt2(path: Path) -> Pt2Archive:
    """Read the archive that :func:`~espalier.reports.pt2_write.write_program` writes.

    Raises:
        UnsafeFileError: it holds what is read by pickle or executed, an entry that nobody knows, or a tensor with more
            bytes than its shape has; or it is torn.
    """
    try:
        entries = _entries(path)
        return Pt2Archive(
            json.loads(entries[_PROGRAM]),
            _tensors(entries, "data/weights"),
            _tensors(entries, "data/constants"),
        )
    except UnsafeFileError as error:
        raise _refused(path, str(error)) from error
    except (OSError, zipfile.BadZipFile, ValueError, LookupError, TypeError, RuntimeError, RecursionError) as error:
        raise _refused(path, f"is torn or no torch.export archive ({type(error).__name__}: {error})") from error
    except (NotImplementedError, AttributeError) as error:
        raise _refused(path, f"has a form that is not read here ({error})") from error


def _entries(path: Path) -> dict[str, bytes]:
    """Return the archive's entries by their names below its root folder."""
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = info.filename.partition("/")[2]
            if name in found:
                raise UnsafeFileError(f"holds {name} twice")
            # What is stored as it is cannot unpack to more than the file; torch.export stores all so.
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
                raise UnsafeFileError(f"holds {info.filename} compressed or encrypted")
            if not _KNOWN.fullmatch(name):
                raise UnsafeFileError(f"holds {info.filename}, which only unpickling or executing it reads")
            if name == _SAMPLES and info.file_size:
                raise UnsafeFileError(f"holds sample inputs ({info.file_size} bytes), which are stored by pickle")
            found[name] = archive.read(info)
    return found


def _tensors(entries: Mapping[str, bytes], folder: str) -> dict[str, torch.Tensor]:
    config: dict[str, Any] = json.loads(entries[_PLACES[folder]])["config"]
    room: dict[str, int] = {}
    found = {}
    for name, entry in config.items():
        if entry["use_pickle"] or entry["tensor_meta"] is None:
            raise UnsafeFileError(f"holds {name!r} as a pickle")
        file = str(entry["path_name"])
        content = entries[f"{folder}/{file}"]
        tensor = _tensor(content, entry["tensor_meta"])
        room[file] = max(room.get(file, 0), tensor.numel() * tensor.element_size())
        found[name] = tensor
    for file in (n.rpartition("/")[2] for n in entries if n.startswith(f"{folder}/") and not n.endswith(".json")):
        size = len(entries[f"{folder}/{file}"])
        if size > room.get(file, 0):
            raise UnsafeFileError(f"holds {size} bytes in {file} for a tensor of {room.get(file, 0)}")
    return found


def _tensor(content: bytes, meta: Mapping[str, Any]) -> torch.Tensor:
    dtype = torch_dtype(meta["dtype"])
    size, stride = [_whole(s) for s in meta["sizes"]], [_whole(s) for s in meta["strides"]]
    if not content:
        if 0 not in size:
            raise UnsafeFileError(f"holds no bytes for a tensor of {size}")
        return torch.zeros(size, dtype=dtype)
    flat = torch.frombuffer(bytearray(content), dtype=dtype)
    return torch.as_strided(flat, size, stride, _whole(meta["storage_offset"]))


def _whole(size: Mapping[str, Any]) -> int:
    if not isinstance(size.get("as_int"), int):
        raise UnsafeFileError(f"has a tensor of size {size}")
    return size["as_int"]


def torch_dtype(number: int) -> torch.dtype:
    """Return the type that a number stands for in ``torch.export``'s files."""
    from torch._export.serde.serialize import _SERIALIZE_TO_TORCH_DTYPE

    return _SERIALIZE_TO_TORCH_DTYPE[number]  # pyright: ignore[reportArgumentType] - an IntEnum's own number


def _refused(path: Path, fault: str) -> UnsafeFileError:
    remedy = "Nothing of it was loaded. Export it again with this Espalier; --trust runs the file as it is."
    return UnsafeFileError(describe(f"{path.name} {fault}", expected="a program and tensors, no pickle", remedy=remedy))
