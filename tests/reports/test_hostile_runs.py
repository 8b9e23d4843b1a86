"""Run folders and kits from somebody who means harm: reading them imports nothing."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from espalier.cli.main import main
from espalier.errors import InputError, RunFolderError
from espalier.evaluators.hardware.remote import agent
from espalier.evaluators.hardware.remote.kit_files import read_kit_file
from espalier.reports.export import export, task_of_run
from espalier.search.run_folder import open_run


@pytest.fixture
def marker(tmp_path):
    """Where a file appears if something was executed."""
    return tmp_path / "executed"


@pytest.fixture(params=["outside", "inside", "module"])
def run(request, runs, marker, tmp_path):
    """A run whose folder names code of somebody else as its task."""
    folder = runs.write_run(tmp_path / "run").path
    code = f"open({str(marker)!r}, 'w').close()\n"
    for place in (tmp_path / "evil.py", folder / "evil.py"):
        place.write_text(code)
    reference = {
        "outside": f"{tmp_path / 'evil.py'}:task",
        "inside": f"{folder / 'evil.py'}:task",
        "module": "evil:task",
    }
    content = json.loads((folder / "run.json").read_text())
    content["task_reference"] = content["options"]["task"] = reference[request.param]
    (folder / "run.json").write_text(json.dumps(content))
    return folder


def test_no_command_imports_the_task_that_a_run_names(run, marker, tmp_path, capsys, monkeypatch):
    for words in (["report"], ["pick"], ["pick", "--max-drop", "1%"], ["compare", str(run)]):
        assert main([words[0], str(run), *words[1:]]) in (0, 1)
    capsys.readouterr()
    monkeypatch.chdir(run)  # where evil.py would be found first
    for words in (
        ["export", str(run), "--out", str(tmp_path / "out")],
        ["calibrate", "--run", str(run), "--kit", str(tmp_path / "kit")],
        ["search", "--out", str(run), "--resume"],
    ):
        assert main(words) == 2, words
        shown = capsys.readouterr().err
        assert "importing it executes it" in shown
        assert "--trust" in shown or "Name it" in shown
    assert not marker.exists()
    assert not (tmp_path / "out").exists()


def test_trust_imports_what_the_run_names(runs, marker, tmp_path):
    found = runs.write_run(tmp_path / "run", name=f"{tmp_path / 'evil.py'}:task")
    (tmp_path / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\ntask = None\n")
    with pytest.raises(RunFolderError, match="not what you searched here"):
        task_of_run(found)
    with pytest.raises(InputError, match="NoneType"):
        export(found, "knee", tmp_path / "out", trust=True)
    assert marker.exists()


def test_a_run_of_ones_own_is_exported_by_one_command(tiny_run, tiny_task):
    assert task_of_run(open_run(tiny_run)).reference == tiny_task


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "sub/file", "..", ""])
def test_a_kit_names_its_own_files_only(tmp_path, name):
    (tmp_path / "secret").write_text("secret")
    kit = tmp_path / "kit"
    kit.mkdir()
    with pytest.raises(InputError, match="names the file"):
        read_kit_file(kit, name)
    manifest = {"networks": [], "files": {name: {"sha256": "0"}}}
    with pytest.raises(agent.BadKitError, match="no file of the kit"):
        agent.check_files(kit, manifest)
    with pytest.raises(agent.BadKitError, match="no file of the kit"):
        agent.check_files(kit, {"networks": [{"file": name}], "files": {}})


def test_a_kit_with_a_link_is_refused(tmp_path):
    (tmp_path / "secret").write_text("secret")
    kit = tmp_path / "kit"
    kit.mkdir()
    (kit / "n000-fp32.onnx").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="is a link"):
        read_kit_file(kit, "n000-fp32.onnx")


def test_a_kit_that_unpacks_to_a_flood_is_refused(tmp_path):
    kit = tmp_path / "kit.zip"
    with zipfile.ZipFile(kit, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("kit/n.onnx", bytes(70 * 2**20))
        archive.writestr("kit/small.json", b"{}" * 100)
    assert read_kit_file(kit, "small.json") == b"{}" * 100
    with pytest.raises(InputError, match="73400320 bytes"):
        read_kit_file(kit, "n.onnx")


def test_a_kit_of_somebody_elses_task_asks_for_it(tmp_path, marker, capsys):
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(marker)!r}, 'w').close()\n")
    kit = tmp_path / "kit"
    kit.mkdir()
    manifest = {
        "version": agent.VERSION, "kind": "espalier-kit", "subject": f"{evil}:task", "model_fingerprint": "f",
        "threads": 1, "networks": [], "files": {},
    }  # fmt: skip
    Path(kit / agent.MANIFEST).write_text(json.dumps(manifest))
    results = tmp_path / "results.json"
    results.write_text("{}")
    words = ["calibrate", "--import", str(results), "--kit", str(kit), "--out", str(tmp_path / "d.yaml")]
    assert main(words) == 2
    assert "importing it executes it" in capsys.readouterr().err
    assert not marker.exists()
