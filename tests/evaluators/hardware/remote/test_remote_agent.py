from __future__ import annotations

import ast
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from espalier.evaluators.hardware.estimate import estimate
from espalier.evaluators.hardware.remote import agent
from espalier.evaluators.hardware.remote.importing import import_results
from espalier.evaluators.hardware.remote.kit import KitMember, pack_members
from espalier.evaluators.hardware.remote.results import read_results
from espalier.evaluators.onnx.onnx_export import export_onnx
from espalier.spaces.graph.trace import trace
from espalier.spaces.policy import Policy

from .conftest import IMAGE, as_if_undisturbed, bare_python

SOURCE = Path(agent.__file__).read_text(encoding="utf-8")


def test_it_is_one_file_for_old_boards():
    tree = ast.parse(SOURCE, feature_version=(3, 8))
    roots = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            roots.add(str(node.module).partition(".")[0])
    assert roots - set(sys.stdlib_module_names) == {"numpy", "onnxruntime"}


def test_the_board_knows_neither_pytorch_nor_espalier(board):
    for name in ("torch", "espalier", "onnx", "scipy"):
        assert "ModuleNotFoundError" in board.run("-c", f"import {name}").stderr
    assert board.run("-c", "import numpy, onnxruntime").returncode == 0


def test_killed_midway_it_goes_on_where_it_was(board, kit, network, tmp_path):
    out = tmp_path / "results.json"
    command = board.command(kit.path / "agent.py", kit.path, "--out", out)
    process = subprocess.Popen(command, env=board.environment, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("[4/12]"):
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    before = json.loads(out.read_text())["rows"]
    assert 4 <= len(before) < 12
    done = board.run(*command[2:])
    assert done.returncode == 0, done.stderr
    assert f"12 networks, {len(before)} of them timed already" in done.stdout
    after = json.loads(out.read_text())["rows"]
    assert after[: len(before)] == before
    assert [row["file"] for row in after] == [n.file for n in kit.networks]
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]

    as_if_undisturbed(out)
    imported = import_results(out, kit.path, network, IMAGE, name="board")
    error = imported.device.fit["fp32"]
    assert (imported.device.name, imported.device.threads, imported.device.reachable) == ("board", 1, False)
    assert error.held_out >= 3
    assert 0 <= error.median_relative_error < 1
    measured = read_results(out, kit).timed[0].latency_ms
    told = estimate(network, IMAGE, device=imported.device)
    assert told.source == imported.device.cost_model
    assert told.latency_ms == pytest.approx(measured, rel=1.0)


def test_each_row_tells_its_blocks_the_sentinel_and_the_kernels(kit, results):
    content = json.loads(results.read_text())
    assert {"cpu", "architecture", "cores", "onnxruntime", "governor"} <= content["machine"].keys()
    for row in content["rows"]:
        assert len(row["block_ms"]) == len(row["sentinel_ms"]) >= 3
        assert row["latency_ms"] == min(row["block_ms"])
        assert row["runs"] >= 15
        assert {"celsius", "frequency_khz", "load"} == row["conditions"].keys()
        assert any("Conv" in node["operator"] for node in row["nodes"])


def test_a_damaged_kit_is_refused(board, kit, tmp_path):
    copy = Path(shutil.copytree(kit.path, tmp_path / "kit"))
    (copy / kit.networks[3].file).write_bytes(b"not what was packed")
    (copy / kit.networks[5].file).unlink()
    done = board.run(copy / "agent.py", copy)
    assert done.returncode == 2
    assert kit.networks[3].file in done.stderr
    assert f"{kit.networks[5].file} cannot be read" in done.stderr
    assert not (copy / "results.json").exists()


def test_results_of_other_threads_are_not_mixed(board, kit, results, tmp_path):
    out = Path(shutil.copy(results, tmp_path))
    done = board.run(kit.path / "agent.py", kit.path, "--threads", "2", "--out", out)
    assert done.returncode == 2
    assert "threads" in done.stderr
    assert out.read_text() == results.read_text()


def test_what_is_no_kit(board, kit, tmp_path):
    done = board.run(kit.path / "agent.py", tmp_path)
    assert done.returncode == 2
    assert "is no kit" in done.stderr


def test_missing_packages_are_named(kit, tmp_path):
    python = bare_python(tmp_path / "bare")
    done = subprocess.run([python, kit.path / "agent.py", kit.path], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "pip install numpy onnxruntime" in done.stderr


def test_a_network_that_the_runtime_refuses_is_a_row_with_the_reason(board, network, tmp_path):
    policy = Policy.dense(trace(network, IMAGE))
    members = [KitMember(policy, None, export_onnx(network, IMAGE)), KitMember(policy, 7, b"no network at all")]
    kit = pack_members(members, IMAGE, tmp_path / "kit", subject="a chain")
    done = board.run(kit.path / "agent.py", kit.path)
    assert done.returncode == 1
    found = read_results(kit.path / "results.json", kit)
    assert [t.network.trial for t in found.timed] == [None]
    assert list(found.failures) == ["trial7-fp32.onnx"]
    again = board.run(kit.path / "agent.py", kit.path)
    assert "1 of them timed already" in again.stdout


def test_the_agent_tells_what_was_run(network, kit):
    """The agent's feed and session are those of this machine's measurements: same outputs for the dense network."""
    feed = agent.read_feed(kit.path / "inputs.npz")
    session = agent.open_session(kit.path / kit.networks[0].file, 1)
    (output,) = agent.runner(session, feed)()
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(output), network(IMAGE), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("words", [["--threads", "0"], ["--nonsense"], []])
def test_bad_options(words, capsys):
    with pytest.raises(SystemExit) as stop:
        agent.main(["kit", *words] if words else [])
    assert stop.value.code == 2
