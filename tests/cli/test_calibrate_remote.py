from __future__ import annotations

import json
import subprocess
import sys
import zipfile

from espalier.evaluators.hardware.device import load_device


def test_a_kit_goes_out_and_comes_back_as_a_device(espalier, tiny_task, tmp_path):
    kit = tmp_path / "own.zip"
    packed = espalier("calibrate", tiny_task, "--kit", kit, "--networks", "24", "--json")
    assert packed.code == 0, packed.err
    assert json.loads(packed.out)["networks"] == 24
    with zipfile.ZipFile(kit) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "own"
    done = subprocess.run([sys.executable, "agent.py", "."], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "board.yaml"
    read = espalier("calibrate", "--import", folder / "results.json", "--kit", kit, "--out", out)
    assert read.code == 0, read.err
    assert "within 10 %" in read.out
    assert load_device(out).cost_model == "learned"
    assert (tmp_path / "board.csv").is_file()
    again = espalier("calibrate", "--import", folder / "results.json", "--kit", kit, "--out", out)
    assert again.code == 2
    assert "exists already" in again.err


def test_bad_input_exits_with_2(espalier, tiny_task, tmp_path):
    (tmp_path / "results.json").write_text("{}")
    cases = (
        ("calibrate", "--kit", tmp_path / "kit"),
        ("calibrate", tiny_task, "--kit", tmp_path / "kit", "--precision", "int4"),
        ("calibrate", "--import", tmp_path / "results.json", "--out", tmp_path / "a.yaml"),
        ("calibrate", tiny_task, "--ssh", "-oProxyCommand=id", "--out", tmp_path / "a.yaml"),
        ("calibrate", tiny_task, "--ssh", "host", "--kit", tmp_path / "kit"),
        ("calibrate", "--run", tmp_path / "run"),
        ("calibrate", "--run", tmp_path / "run", "--ssh", "host"),
        ("calibrate", "--run", tmp_path / "run", "--kit", tmp_path / "kit"),
    )
    for words in cases:
        result = espalier(*words)
        assert result.code == 2, (words, result)
        assert "expected" in result.err
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]
