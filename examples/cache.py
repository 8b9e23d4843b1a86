"""Where the examples keep what is slow to make: trained weights and decoded images.

Cached files are safetensors and ``.npy`` arrays without objects, each written beside its place and renamed into it, so
that a kill leaves the old file, the new one or none. A file that cannot be read is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

FOLDER_VARIABLE = "ESPALIER_CACHE"


def cache_folder() -> Path:
    """Return ``$ESPALIER_CACHE``, else ``$XDG_CACHE_HOME/espalier``, else ``~/.cache/espalier``."""
    if chosen := os.environ.get(FOLDER_VARIABLE):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "espalier"


def digest(description: Mapping[str, object]) -> str:
    """Return twelve hexadecimal digits that change with any value of ``description`` (plain JSON data)."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:12]


def cached_weights(
    file_name: str,
    make: Callable[[], dict[str, torch.Tensor]],
    *,
    like: Mapping[str, torch.Tensor],
) -> dict[str, torch.Tensor]:
    """Return the tensors of a cached safetensors file, or make and store them.

    Args:
        file_name: name inside the cache folder; it should hold a digest of everything that ``make`` depends on.
        make: computes the tensors where the file is absent, torn or of other shapes.
        like: the names and shapes that a usable file has.
    """
    path = cache_folder() / file_name
    with suppress(OSError, SafetensorError):
        stored = load_file(path)
        if {name: t.shape for name, t in stored.items()} == {name: t.shape for name, t in like.items()}:
            return stored
    made = {name: tensor.detach().clone().contiguous() for name, tensor in make().items()}
    store(path, lambda temporary: save_file(made, temporary))
    return made


def cached_array(file_name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """Return a cached array, memory-mapped so that the processes of a search share it, or make and store it.

    Writing into the array changes this process's copy only, never the file.
    """
    path = cache_folder() / file_name
    with suppress(OSError, ValueError, EOFError):
        return np.load(path, mmap_mode="c", allow_pickle=False)
    made = make()
    if store(path, lambda temporary: _save_array(made, temporary)):
        return np.load(path, mmap_mode="c", allow_pickle=False)
    return made


def _save_array(array: np.ndarray, path: Path) -> None:
    with path.open("wb") as stream:  # np.save would append .npy to the name
        np.save(stream, array, allow_pickle=False)


def store(path: Path, write: Callable[[Path], None]) -> bool:
    """Call ``write`` on a temporary file and rename it to ``path``; a folder that cannot be written costs only time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
            write(Path(folder) / path.name)
            (Path(folder) / path.name).replace(path)
    except (OSError, SafetensorError) as error:
        warnings.warn(
            f"{path.name} is not cached and will be made again next time, because {path.parent} cannot be written "
            f"({error}). Set {FOLDER_VARIABLE} to a folder that can.",
            stacklevel=3,
        )
        return False
    return True
