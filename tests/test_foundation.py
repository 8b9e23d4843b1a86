"""The registry, error texts and whole-or-absent files that everything stands on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from espalier.errors import EspalierError, InputError, RunFolderError, UnknownNameError, unknown_name
from espalier.jsonfile import read_json, write_json
from espalier.registry import Registry


def test_a_registry_keeps_order_and_refuses_duplicates():
    registry: Registry[int] = Registry("criterion")
    registry.add("l2", 2)
    registry.add("l1", 1)
    assert registry.names() == ("l2", "l1")
    with pytest.raises(ValueError, match="criterion 'l2' is registered already"):
        registry.add("l2", 3)
    assert registry.get("l2") == 2


def test_unknown_names_come_with_near_ones():
    error = unknown_name("device", "raspbery-pi-4", ["raspberry-pi-4", "host"])
    assert str(error) == (
        "unknown device 'raspbery-pi-4'; expected one of host, raspberry-pi-4. Did you mean 'raspberry-pi-4'?"
    )
    assert isinstance(error, ValueError)
    assert issubclass(UnknownNameError, InputError)
    assert issubclass(InputError, EspalierError)


def test_json_round_trip(tmp_path):
    write_json(tmp_path / "a.json", {"version": 1, "x": [1.5, None]})
    assert read_json(tmp_path / "a.json") == {"version": 1, "x": [1.5, None]}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("text", ["", '{"version": 1', "[]", '{"version": 2}', "\xff"])
def test_torn_and_foreign_files_are_refused_by_name(tmp_path, text):
    (tmp_path / "run.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(RunFolderError, match=r"run\.json"):
        read_json(tmp_path / "run.json")


def test_no_number_that_is_none_gets_into_a_file(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"version": 1, "x": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_a_kill_while_writing_leaves_a_whole_file(tmp_path):
    path = tmp_path / "a.json"
    script = textwrap.dedent(f"""
        from pathlib import Path
        from espalier.jsonfile import write_json
        for i in range(10**9):
            write_json(Path({str(path)!r}), {{"version": 1, "values": [i] * 20_000}})
    """)
    for delay in (0.05, 0.1, 0.15):
        process = subprocess.Popen([sys.executable, "-c", script])
        while not path.exists():
            time.sleep(0.01)
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        values = json.loads(path.read_text())["values"]
        assert len(values) == 20_000
        assert len(set(values)) == 1
