"""Run folders for the reports' tests, and the Chromium that opens them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

_QUIET = (
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def _load(name: str) -> ModuleType:
    """Load a module that lies beside this file; pytest's importlib mode puts no tests folder on the path."""
    spec = importlib.util.spec_from_file_location(f"reports_{name}", Path(__file__).with_name(f"{name}.py"))
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def runs() -> ModuleType:
    """The module that writes run folders with known numbers."""
    return _load("runs")


@pytest.fixture(scope="session")
def known_run(runs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished run with known numbers."""
    return runs.write_run(tmp_path_factory.mktemp("known") / "run")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium: ``ESPALIER_CHROMIUM``, one on the path, or Playwright's own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = os.environ.get("ESPALIER_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    sandbox = () if getattr(os, "geteuid", lambda: 1)() else ("--no-sandbox",)  # root has no sandbox
    with playwright.sync_playwright() as started:
        try:
            chromium = started.chromium.launch(executable_path=path, args=[*_QUIET, *sandbox])
        except playwright.Error as error:
            pytest.skip(f"no Chromium can be started ({str(error).strip().splitlines()[0]}); set ESPALIER_CHROMIUM")
        yield chromium
        chromium.close()
