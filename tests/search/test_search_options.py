from __future__ import annotations

import pytest

from espalier.errors import ConstraintError, InputError, RunFolderError, UnknownNameError
from espalier.search.options import SearchOptions, parse_duration, read_config


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
        SearchOptions(task="digits", **option)


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
