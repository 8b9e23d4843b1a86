"""A trial's weights as a file."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ..errors import RunFolderError, describe


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the network's tensors to a safetensors file, whole or not at all; it is on disk when this returns."""
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    save_file(tensors, temporary)
    _to_disk(temporary)
    temporary.replace(path)
    _to_disk(path.parent)


def _to_disk(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on disk: a power cut leaves no trial without its weights."""
    if os.name != "posix" and path.is_dir():
        return  # folders cannot be opened there
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_weights(model: nn.Module, path: Path) -> None:
    """Read a safetensors file into ``model``, in place.

    Raises:
        RunFolderError: the file is absent, torn, or of a network of other shapes.
    """
    try:
        model.load_state_dict(read_weights(path))
    except RuntimeError as error:
        raise _unusable(path, error) from error


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors that :func:`save_weights` wrote.

    Raises:
        RunFolderError: the file is absent or torn.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> RunFolderError:
    return RunFolderError(
        describe(
            f"weights {path} cannot be used ({str(error).splitlines()[0]})",
            expected="the safetensors file that this policy's trial wrote",
            remedy="Restore it from a copy, or run the trial again.",
        )
    )
