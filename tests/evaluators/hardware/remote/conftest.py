"""A device next door: a Python of its own with NumPy and ONNX Runtime, which knows neither PyTorch nor Espalier."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import onnxruntime
import pytest
import torch

from espalier.evaluators.hardware.remote.kit import Kit, pack_kit
from espalier.testing.cost_models import chain

IMAGE = torch.zeros(1, 3, 32, 32)


@dataclass(frozen=True)
class Board:
    """A device."""

    python: Path
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "HOME": str(self.home), "OMP_NUM_THREADS": "1"}

    def command(self, *words: str | Path) -> list[str]:
        return [str(self.python), "-u", *map(str, words)]

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), env=self.environment, capture_output=True, text=True, check=False, timeout=300
        )


def bare_python(folder: Path) -> Path:
    """Make an environment without any package and return its Python."""
    venv.create(folder, symlinks=True, with_pip=False)
    return folder / "bin" / "python"


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    folder = tmp_path_factory.mktemp("board")
    python = bare_python(folder / "env")
    packages = folder / "env" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    for module in (numpy, onnxruntime):
        home = Path(str(module.__file__)).parent
        for part in (home, home.with_name(f"{home.name}.libs")):
            if part.exists():
                (packages / part.name).symlink_to(part)
    (folder / "home").mkdir()
    return Board(python, folder / "home")


@pytest.fixture(scope="session")
def network() -> torch.nn.Module:
    return chain(32)


@pytest.fixture(scope="session")
def kit(network: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Kit:
    """A kit in a folder; tests must leave it as it is."""
    out = tmp_path_factory.mktemp("kit") / "kit"
    return pack_kit(network, IMAGE, out, subject="a chain", networks=12)


@pytest.fixture(scope="session")
def results(kit: Kit, board: Board, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the agent brings back from the board; tests must leave it as it is."""
    out = tmp_path_factory.mktemp("results") / "results.json"
    done = board.run(kit.path / "agent.py", kit.path, "--out", out)
    assert done.returncode == 0, done.stderr
    as_if_undisturbed(out)
    return out


def as_if_undisturbed(results: Path) -> None:
    """Have the sentinel say that the device was steady: what else this machine does is no part of these tests."""
    content = json.loads(results.read_text())
    usual = min(time for row in content["rows"] for time in row["sentinel_ms"])
    for row in content["rows"]:
        row["sentinel_ms"] = [usual] * len(row["sentinel_ms"])
    results.write_text(json.dumps(content))


@pytest.fixture
def changed(results: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write the results with a change and return where."""

    def write(change: Callable[[dict[str, Any]], object]) -> Path:
        content = json.loads(results.read_text())
        change(content)
        path = tmp_path / "changed.json"
        path.write_text(json.dumps(content))
        return path

    return write
