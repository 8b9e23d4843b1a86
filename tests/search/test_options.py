from __future__ import annotations

import dataclasses
import os
import re
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from espalier.cli.main import main
from espalier.cli.search_options import takes_options
from espalier.errors import ConstraintError, InputError, RunFolderError, UnknownNameError
from espalier.search.option_fields import markdown_table, option, option_fields
from espalier.search.option_values import parse_duration, whole
from espalier.search.options import SearchOptions, read_config


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1.5m", 90), ("12", 12), (" 1 d ", 86400)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-3", "0", "0s", "3x", "m", "5m4", "nan", "inf"])
def test_what_is_no_duration(text):
    with pytest.raises(InputError, match="such as 90s, 30m or 2h"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("option", "error", "words"),
    [
        ({"trials": 0}, InputError, "trials 0"),
        ({"trials": "many"}, InputError, "trials 'many'"),
        ({"workers": 0}, InputError, "workers 0"),
        ({"threads": 0}, InputError, "threads 0"),
        ({"budget": -1}, InputError, "budget -1"),
        ({"budget": float("nan")}, InputError, "budget nan"),
        ({"objectives": "acuracy"}, UnknownNameError, "Did you mean 'accuracy'"),
        ({"objectives": ""}, InputError, "at least one"),
        ({"constraints": ["latency<>5"]}, ConstraintError, "latency<>5"),
        ({"constraints": ["lateny_ms<=5"]}, UnknownNameError, "latency_ms"),
        ({"precision": "int9"}, UnknownNameError, "Did you mean 'int8'"),
        ({"sampler": "tpee"}, UnknownNameError, "Did you mean 'tpe'"),
        ({"storage": "study.db"}, InputError, "database URL"),
        ({"seed": -1}, InputError, "seed -1"),
        ({"trails": 3}, UnknownNameError, "Did you mean 'trials'"),
    ],
)
def test_each_bad_option_is_one_message_with_value_and_remedy(option, error, words):
    with pytest.raises(error, match=words.replace("(", r"\(")):
        SearchOptions.of({"task": "digits", **option})


def test_the_same_in_other_words_are_the_same_options():
    plain = SearchOptions(
        task="t", objectives="accuracy,latency", constraints="latency<=5ms", budget="30m", criteria="l2,l1"
    )
    listed = SearchOptions(
        task="t",
        objectives=["accuracy", "latency_ms"],
        constraints=["latency_ms <= 5"],
        budget=1800,
        criteria=("l2", "l1"),
    )
    assert plain == listed
    assert SearchOptions(**plain.to_dict()) == plain


def test_a_constraint_keeps_all_its_digits():
    stored = SearchOptions(task="t", constraints=["size_bytes<=1234567"]).parsed_constraints
    assert stored[0].bound == 1234567


def test_resume_names_every_difference_and_allows_how_long_and_with_what():
    stored = SearchOptions(task="a", seed=1, trials=5, workers=1)
    SearchOptions(task="a", seed=1, trials=9, workers=2, threads=1, budget=3).check_resumes(stored)
    with pytest.raises(RunFolderError, match=r"task is 'b', in the run 'a'; .*seed is 2, in the run 1"):
        SearchOptions(task="b", seed=2).check_resumes(stored)


def test_config_file(tmp_path):
    path = tmp_path / "search.yaml"
    path.write_text(
        "task: digits\nout: runs/a\nbudget: 30m\nconstraint: ['latency_ms<=5']\nobjectives: [accuracy, latency]\n"
    )
    values = read_config(path)
    assert values.pop("out") == "runs/a"
    options = SearchOptions(**values)
    assert options.budget == 1800
    assert options.objectives == ("accuracy", "latency_ms")
    assert options.constraints == ("latency_ms<=5.0",)


@pytest.mark.parametrize(
    ("text", "words"), [("trails: 3", "trials"), ("- a", "list"), ("a: [", "cannot be read"), ("", "NoneType")]
)
def test_bad_config_file(tmp_path, text, words):
    path = tmp_path / "search.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_config(path)


def test_absent_config_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_config(tmp_path / "none.yaml")


def test_the_table_of_the_documentation_is_that_of_the_fields(repository):
    page = repository / "docs" / "search.md"
    before, start, rest = page.read_text().partition("tests/search/test_options.py` -->\n")
    table, end, after = rest.partition("<!-- end of options -->\n")
    if os.environ.get("ESPALIER_UPDATE_SNAPSHOTS"):
        page.write_text(before + start + markdown_table(SearchOptions) + end + after)
    assert table == markdown_table(SearchOptions)


@dataclasses.dataclass(frozen=True)
class MoreOptions(SearchOptions):
    """The options of a search, and one more."""

    warm_up: int = option(3, read=whole(0), kind="whole")
    """How many rounds nothing is
    counted of."""


def test_a_field_is_added_in_one_place(tmp_path, monkeypatch):
    given = {}

    @takes_options(MoreOptions)
    def search(*, out: Annotated[str | None, typer.Option()] = None, **options: Any) -> None:
        """Search."""
        given.update(options)

    app = typer.Typer()
    app.command()(search)
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert re.search(r"--warm-up +<?int(eger)?>? .*How many rounds nothing is counted of. Default: 3.", shown, re.I)
    assert CliRunner().invoke(app, ["digits", "--warm-up", "5"]).exit_code == 0
    assert given["warm_up"] == 5

    config = tmp_path / "search.yaml"
    config.write_text("warm-up: 7")
    assert read_config(config, MoreOptions) == {"warm_up": 7}
    options = MoreOptions(task="digits", **read_config(config, MoreOptions))
    assert options.to_dict()["warm_up"] == 7
    assert MoreOptions.of(options.to_dict()) == options
    assert options.words() == ["--warm-up", "7"]
    assert "| `--warm-up` | 3 | How many rounds nothing is counted of. |" in markdown_table(MoreOptions)
    with pytest.raises(RunFolderError, match="warm_up is 7, in the run 3"):
        options.check_resumes(MoreOptions(task="digits"))


def test_every_option_has_a_help_and_a_default_to_read():
    for field in option_fields(SearchOptions):
        assert field.help.endswith("."), field.name
        assert field.required or field.shown_default, field.name


CHANGED = {
    "device": "cortex-m4", "trials": 7, "budget": 90.0, "workers": 2, "threads": 3, "executor": "processes",
    "storage": "sqlite:///study.db", "objectives": ("accuracy", "macs"), "constraints": ("latency_ms<=5.25",),
    "types": ("channel", "nm"), "criteria": ("l1", "taylor"), "precision": ("fp32", "int8"), "sampler": "nsga2",
    "seed": 4, "samples": 0, "calibrate": False, "inherit": False, "baselines": True, "patience": 9,
    "export_check": False, "ladder": False, "data": "folder",
}  # fmt: skip


@pytest.mark.parametrize("names", [*((name,) for name in CHANGED), tuple(CHANGED)])
def test_the_words_of_options_are_read_by_the_real_command_line_as_the_same_options(names, monkeypatch):
    options = SearchOptions(task="digits", **{name: CHANGED[name] for name in names})
    seen = {}
    monkeypatch.setattr("espalier.cli.search._run", lambda options, **_: seen.update(options))
    assert main(["search", "digits", *options.words(), "--out", "run"]) == 0
    del seen["out"]
    assert SearchOptions.of(seen) == options


def test_every_option_is_among_those_that_are_read_back():
    assert {field.name for field in option_fields(SearchOptions)} == {"task", "start", *CHANGED}
