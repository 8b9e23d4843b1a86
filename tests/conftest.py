"""What all tests share: where the data lie, and one thread per process, as the tests run side by side."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with CIFAR-10 and the trained weights; tests that ask for it are skipped where there is none."""
    folder = Path(os.environ.get("ESPALIER_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "cifar10_jpeg.npz").is_file():
        pytest.skip(f"no CIFAR-10 in {folder}; set ESPALIER_DATA to a folder that has it")
    return folder
