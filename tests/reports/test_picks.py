"""Which configuration answers a wish: hand-computed on a run whose final front is, by latency,
3 (0.90, 0.11 ms, 60 KiB), 8 (0.96, 0.19, 130), 2 (0.965, 0.205, 120), 1 (0.975, 0.31, 200), 0 (0.98, 0.41, 300)."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from espalier.errors import ConstraintError
from espalier.evaluators.configuration import Configuration
from espalier.evaluators.evaluation import Evaluation
from espalier.evaluators.objectives import Constraint, objective
from espalier.reports.picks import answer, choose, parse_max_drop
from espalier.spaces.policy import Policy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1%", 0.01),
        ("0.01", 0.01),
        (0.01, 0.01),
        (" 2.5 % ", 0.025),
        ("0", 0.0),
        ("0%", 0.0),
        ("100%", 1.0),
        ("1", 1.0),
    ],
)
def test_max_drop_is_a_percentage_or_a_fraction(text: str | float, expected: float) -> None:
    assert parse_max_drop(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "%", "one", "-1%", "-0.1", "nan", "inf", "101%", "1%%", "0,5"])
def test_a_malformed_max_drop_is_refused(text: str) -> None:
    with pytest.raises(ConstraintError, match="expected a percentage or a fraction"):
        parse_max_drop(text)


def test_a_forgotten_percent_sign_is_explained() -> None:
    with pytest.raises(ConstraintError, match="For 5 points write 5%"):
        parse_max_drop("5")


@pytest.mark.parametrize(
    ("max_drop", "constraints", "expected"),
    [
        (None, (), 3),
        ("10%", (), 3),
        ("2%", (), 8),  # 0.98 - 0.02 is 0.96, and trial 8 has just that
        ("1.9%", (), 2),
        ("1%", (), 1),
        ("0%", (), 0),
        (None, ("size<=125KiB", "accuracy>=0.95"), 2),
        ("3%", ("size<=125KiB",), 2),
    ],
)
def test_the_fastest_that_meets_every_wish(
    known_run: Any, max_drop: str | None, constraints: tuple[str, ...], expected: int
) -> None:
    found = answer(known_run, max_drop=max_drop, constraints=[Constraint.parse(text) for text in constraints])
    assert found.answered
    assert found.configuration is not None
    assert found.configuration.trial == expected
    assert found.misses == ()
    assert f"Trial {expected} answers" in str(found)


def test_where_none_answers_the_nearest_is_named_with_what_it_misses(known_run: Any) -> None:
    found = answer(known_run, max_drop="2%", constraints=[Constraint.parse("latency<=0.18")])
    # Trial 8 misses the latency by 0.01 of 0.18 (5.6 %); trial 3 the accuracy by 0.06 of 0.96 (6.25 %).
    assert not found.answered
    assert found.configuration is None
    assert found.nearest is not None
    assert found.nearest.trial == 8
    assert [str(miss.constraint) for miss in found.misses] == ["latency_ms<=0.18"]
    assert found.misses[0].by == pytest.approx(0.01)
    assert "No configuration answers" in str(found)
    assert "latency_ms is 0.190" in str(found)
    plain = found.to_dict()
    assert plain["answered"] is False
    assert plain["configuration"] is None
    assert plain["nearest"]["trial"] == 8
    assert plain["misses"][0]["constraint"] == "latency_ms<=0.18"


def test_a_run_without_a_front_names_the_nearest_trial(runs: ModuleType, tmp_path: Path) -> None:
    run = runs.write_run(tmp_path / "run", final=None, constraints=("latency_ms<=0.07",))
    found = answer(run)
    assert not found.answered
    assert found.nearest is not None
    assert found.nearest.trial == 5
    assert found.misses[0].by == pytest.approx(0.01)


def test_a_run_without_trials_says_so(runs: ModuleType, tmp_path: Path) -> None:
    found = answer(runs.write_run(tmp_path / "run", trials=(), final=None), max_drop="1%")
    assert found.nearest is None
    assert "No configuration was evaluated yet" in str(found)


def test_without_latency_the_first_cost_objective_decides(runs: ModuleType, tmp_path: Path) -> None:
    run = runs.write_run(tmp_path / "run", objectives=("accuracy", "size_bytes", "macs"))
    assert answer(run, max_drop="2%").ranked_by.name == "size_bytes"
    found = answer(run, max_drop="2%").configuration
    assert found is not None
    assert found.trial == 2


def test_a_metric_that_was_not_measured_misses() -> None:
    known = Configuration(1, Policy("f", {}), Evaluation({"accuracy": 0.9, "latency_ms": 1.0}, "measured", 0.05, 10))
    wish = Constraint.parse("energy<=3")
    found = choose([known], [wish], ranked_by=objective("latency_ms"), dense={"accuracy": 0.9})
    assert not found.answered
    assert "energy_mj was not measured" in str(found)
    assert found.to_dict()["misses"] == [{"constraint": "energy_mj<=3", "value": None, "by": None}]


def test_a_drop_of_just_as_much_as_allowed_is_allowed(runs: ModuleType, tmp_path: Path) -> None:
    trials = [runs.Trial(runs.metrics(0.7, 0.1, 10))]
    run = runs.write_run(tmp_path / "run", trials=trials, final={None: runs.metrics(0.8, 0.4, 300)}, constraints=())
    assert 0.8 - 0.1 > 0.7  # in floats
    assert answer(run, max_drop="10%").answered
