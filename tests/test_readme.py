"""What the documents tell people to type is run, or at least known to the command line."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from espalier.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
QUICK = {"search": ["--trials", "4", "--samples", "300", "--workers", "1"]}
"""Options that a test run adds: the README's search, made short. The last of repeated options counts."""


def blocks(path: Path, language: str) -> list[str]:
    """Return the fenced blocks of a document in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def commands(path: Path) -> list[list[str]]:
    """Return the commands that a document tells to type at the prompt."""
    lines = [line for block in blocks(path, "console") for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]


def mentioned(path: Path) -> list[list[str]]:
    """Return every ``espalier ...`` in a document, also those within a sentence or a table."""
    inline = re.findall(r"`(espalier [a-z][^`\n]*)`", path.read_text(encoding="utf-8"))
    return [*(text.split() for text in inline), *(c for c in commands(path) if c[0] == "espalier")]


def printed(*words: str) -> str:
    """Return what ``espalier`` prints, run as a program."""
    return subprocess.run([sys.executable, "-m", "espalier", *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """The options of each command, read from what ``--help`` prints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "300")
        patch.setenv("TERM", "dumb")
        names = re.findall(r"^[│|]? *([a-z]+)  +\S", printed("--help").partition("Commands")[2], flags=re.MULTILINE)
        return {name: set(re.findall(r"(--[a-z][a-z-]*)", printed(name, "--help"))) for name in names}


def test_the_command_line_has_the_promised_commands(options: dict[str, set[str]]) -> None:
    promised = {"demo", "inspect", "devices", "calibrate", "search", "report", "compare", "pick", "export", "verify"}
    assert promised <= options.keys()
    assert "--trials" in options["search"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_and_option_named_in_a_document_exists(path: Path, options: dict[str, set[str]]) -> None:
    for words in mentioned(path):
        if words[1] == "COMMAND":
            continue
        assert words[1] in options, f"{path.name}: {' '.join(words)}"
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used <= options[words[1]], f"{path.name}: {' '.join(words)}"


def test_the_table_of_commands_is_complete(options: dict[str, set[str]]) -> None:
    table = re.findall(r"^\| `espalier ([a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(table) == options.keys()


def test_the_first_search_of_the_readme_works_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").mkdir()
    shutil.copy(ROOT / "examples" / "own_network.py", tmp_path / "examples")
    typed = [words for words in commands(ROOT / "README.md") if words[0] == "espalier"]
    assert [words[1] for words in typed] == ["inspect", "search", "report", "pick", "export", "verify"]
    for words in typed:
        # With four trials no configuration may answer the wish, which is an answer too: exit code 1.
        allowed = (0, 1) if words[1] == "pick" else (0,)
        assert main([*words[1:], *QUICK.get(words[1], [])]) in allowed, " ".join(words)
    assert (tmp_path / "runs/own/report.html").stat().st_size > 10_000
    written = {path.name for path in (tmp_path / "out/own").iterdir()}
    assert {"model.onnx", "model.pt2", "weights.safetensors", "policy.json", "manifest.json", "README.md"} <= written


@pytest.mark.parametrize("words", [["devices"], ["devices", "host"], ["inspect", "digits"]], ids=" ".join)
def test_a_command_that_only_looks_works(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert len(capsys.readouterr().out.splitlines()) > 1


def test_the_python_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    whole = [code for code in blocks(ROOT / "README.md", "python") if code.startswith("import espalier")]
    assert len(whole) == 1
    exec(compile(whole[0], "README.md", "exec"), {})
    before, after = re.findall(r"([\d.]+) ms", capsys.readouterr().out)
    assert float(after) < float(before)


def test_the_task_shown_in_the_readme_is_the_one_in_the_examples() -> None:
    (shown,) = [code for code in blocks(ROOT / "README.md", "python") if "Task(" in code]
    example = (ROOT / "examples" / "own_network.py").read_text(encoding="utf-8")
    fields = re.findall(r"^    (\w+=.*?),", shown, flags=re.MULTILINE)
    assert len(fields) == 9
    assert [field for field in fields if f"    {field},\n" not in example] == []
