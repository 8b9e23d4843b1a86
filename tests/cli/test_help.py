"""``--help`` of every command: as stored, and at once."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path

import pytest
import typer

SNAPSHOTS = Path(__file__).with_name("snapshots")
COMMANDS = ("", "demo", "inspect", "devices", "calibrate", "search", "report", "compare", "pick", "export", "verify")


def pinned_typer(repository: Path) -> str:
    """The version that constraints.txt names; another draws help differently."""
    found = re.search(r"^typer==(\S+)", (repository / "constraints.txt").read_text(), re.MULTILINE)
    return found[1] if found else ""


@pytest.mark.timed
@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_as_stored_and_takes_less_than_a_second(command, espalier_process, repository):
    # Processor time: other work makes the wait longer, but not the command slower.
    seconds = []
    for _ in range(3):
        start = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        result = espalier_process(*command.split(), "--help")
        seconds.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - start)
        if seconds[-1] < 1:
            break
    assert result.code == 0
    assert result.err == ""
    assert min(seconds) < 1, f"--help took {min(seconds):.2f} s of processor time at best"
    snapshot = SNAPSHOTS / f"{command or 'espalier'}.txt"
    shown = "\n".join(line.rstrip() for line in result.out.splitlines()) + "\n"
    if os.environ.get("ESPALIER_UPDATE_SNAPSHOTS"):
        snapshot.write_text(shown, encoding="utf-8")
    if typer.__version__ != pinned_typer(repository):
        pytest.skip(f"snapshots were taken with typer {pinned_typer(repository)}, this is {typer.__version__}")
    assert shown == snapshot.read_text(encoding="utf-8")


def test_help_imports_nothing_heavy(repository):
    import subprocess
    import sys

    code = (
        "import sys, espalier.cli.main; "
        "print([m for m in ('torch', 'optuna', 'onnxruntime', 'plotly', 'numpy', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_command_of_the_contract_is_there(espalier):
    shown = espalier("--help").out
    assert all(f" {command} " in shown for command in COMMANDS if command)


def test_search_offers_only_what_is_real(espalier):
    shown = espalier("search", "--help").out
    for absent in ("dask", "ray", "--address"):
        assert absent not in shown


def test_search_names_every_criterion(espalier):
    from espalier.spaces import CRITERIA

    shown = re.sub(r"[\s│]+", " ", espalier("search", "--help").out)
    listed = re.search(r"How channels are ranked: (.*?)\. Default", shown)
    assert listed is not None
    assert set(listed[1].split(", ")) == set(CRITERIA)


def test_no_command_shows_help_and_a_wrong_one_suggests(espalier):
    assert "Usage" in espalier().out
    wrong = espalier("serach")
    assert wrong.code == 2
    assert "search" in wrong.err


def test_version(espalier):
    assert re.fullmatch(r"espalier \d+\.\d+\S*\n", espalier("--version").out)
