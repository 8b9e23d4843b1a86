"""Importing the package is cheap, and all it promises is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import espalier

HEAVY = ("torch", "optuna", "onnxruntime", "plotly", "sklearn", "numpy")
MEASURE = f"""
import sys, time
start = time.perf_counter()
import espalier
print(time.perf_counter() - start, *[name for name in {HEAVY!r} if name in sys.modules])
"""
HELP = f"""
import sys, time
start = time.perf_counter()
from espalier.cli.main import main
main(["search", "--help"])
print("SECONDS", time.perf_counter() - start, *[name for name in {HEAVY!r} if name in sys.modules])
"""


@pytest.mark.timed
def test_a_bare_import_is_fast_and_brings_in_nothing_heavy(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, cwd=tmp_path)
    seconds, *heavy = done.stdout.split()
    assert float(seconds) < 1
    assert heavy == []


@pytest.mark.parametrize("name", espalier.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(espalier, name) is not None


def test_the_names_of_the_documented_interface_are_public() -> None:
    steps = {"trace", "prune", "calibrate", "estimate", "measure", "run_search", "open_run", "export", "load", "verify"}
    assert steps | {"Policy", "Task"} <= set(espalier.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = espalier.no_such_name


@pytest.mark.timed
def test_help_answers_within_a_second(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True, cwd=tmp_path)
    seconds, *heavy = done.stdout.rpartition("SECONDS")[2].split()
    assert float(seconds) < 1
    assert heavy == []
