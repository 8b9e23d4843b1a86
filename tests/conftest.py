"""What all tests share: where the data lie, and one thread per process, as the tests run side by side."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


def pytest_report_header() -> str:
    """Say what the processor can do, as int8 sums and speeds depend on it."""
    from espalier.evaluators.hardware.instruction_set import instruction_set

    return f"processor: {instruction_set().words}, {os.cpu_count()} cores"


@pytest.fixture(scope="session")
def failed_checks() -> Any:
    """Return what names the checks of a verification that failed, but for the latency's.

    Beside other tests a network of microseconds is not as fast as alone: a test that is `timed` asserts that.
    """
    return lambda found: [check for check in found.checks if not check.passed and check.name != "latency_ms"]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what searches note of their runs out of the user's own state folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


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


TINY_TASK = '''
"""Three clouds of points in eight dimensions, and a small MLP that tells them apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from espalier.evaluators.task.task import Task


def points(count, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    centres = 2.0 * torch.eye(8)[:3]
    return centres[labels] + 0.7 * torch.randn(count, 8, generator=generator), labels


def layers():
    return nn.Sequential(
        nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3)
    )


def network():
    model = layers()
    model.load_state_dict(load_file(Path(__file__).with_name("weights.safetensors")))
    return model.eval()


task = Task(
    name="clouds",
    model=network,
    example_input=torch.zeros(1, 8),
    train=points(600, 1),
    validation=points(300, 2),
    test=points(300, 3),
    batch_size=64,
    learning_rate=0.05,
)
'''


def write_tiny_task(folder: Path) -> Path:
    """Write a task file with its trained weights into ``folder`` and return its path."""
    from safetensors.torch import save_file

    path = folder / "clouds.py"
    path.write_text(TINY_TASK)
    module: dict[str, Any] = {"__file__": str(path), "__name__": "clouds"}
    exec(compile(TINY_TASK, str(path), "exec"), module)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = module["layers"]()
    x, y = module["points"](600, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    save_file(model.state_dict(), folder / "weights.safetensors")
    return path


@pytest.fixture(scope="session")
def tiny_task(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The reference of a task that is searched in seconds."""
    return f"{write_tiny_task(tmp_path_factory.mktemp('task'))}:task"


@pytest.fixture(scope="session")
def tiny_run(tiny_task: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished search of the tiny task; tests must leave it as it is."""
    from espalier.search.run_search import run_search

    folder = tmp_path_factory.mktemp("search") / "run"
    run_search(tiny_task, out=folder, trials=6, samples=600, threads=1)
    return folder


@pytest.fixture(scope="session")
def tiny_export(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of the tiny run's knee; tests must leave it as it is."""
    from espalier.reports.export import export
    from espalier.search.run_folder import open_run

    return export(open_run(tiny_run), "knee", tmp_path_factory.mktemp("export") / "knee")
