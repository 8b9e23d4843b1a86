"""CIFAR-10 in small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from espalier.examples import cifar10_data


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with 40 training images and just enough others, in a published form, beside an empty cache."""
    monkeypatch.setenv("ESPALIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cifar10_data, "_known_folders", lambda data: [tmp_path / "data"])
    folder = tmp_path / "data" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for i in range(1, 6):
        _write_batch(folder / f"data_batch_{i}.bin", 8, seed=i)
    _write_batch(folder / "test_batch.bin", 5020, seed=0)
    return tmp_path / "data"


def _write_batch(path: Path, count: int, seed: int) -> None:
    rows = np.random.default_rng(seed).integers(0, 256, (count, 3073), dtype=np.uint8)
    rows[:, 0] %= 10
    rows.tofile(path)
