"""Runs side by side: one reference point, hand-computed, and what may not be compared."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from espalier.errors import InputError
from espalier.reports.comparison import compare


@pytest.fixture(scope="module")
def other_run(runs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run of the same task that found less: dense and the uniform networks, never timed again."""
    return runs.write_run(tmp_path_factory.mktemp("other") / "fewer", trials=runs.TRIALS[:4], final=None)


def test_the_reference_point_is_the_worst_of_the_runs(known_run: Any, other_run: Any) -> None:
    found = compare([known_run, other_run])
    assert found.reference_point == {"accuracy": 0.49, "latency_ms": 0.41, "size_bytes": 300 * 1024}
    assert compare([other_run, known_run]).reference_point == found.reference_point


def test_hypervolumes_do_not_depend_on_the_order_of_the_runs(known_run: Any, other_run: Any) -> None:
    one, two = compare([known_run, other_run]), compare([other_run, known_run])
    assert [e.hypervolume for e in one.entries] == [e.hypervolume for e in reversed(two.entries)]


def test_hypervolume_by_hand(runs: ModuleType, tmp_path: Path) -> None:
    only = runs.write_run(tmp_path / "one", trials=runs.TRIALS[1:2], final=None)
    slow = runs.write_run(tmp_path / "two", trials=runs.TRIALS[1:2], final={None: runs.metrics(0.98, 0.6, 300)})
    # One point each: accuracy (0.975 - 0.49) / 0.49, latency saved 1 - 0.30 / 0.6, size saved 1 - 200 / 300.
    expected = (0.975 - 0.49) / 0.49 * 0.5 * (1 / 3)
    assert [e.hypervolume for e in compare([only, slow]).entries] == pytest.approx([expected, expected])


def test_what_each_reaches_within_shares_of_its_own_dense_latency(known_run: Any, other_run: Any) -> None:
    entries = compare([known_run, other_run]).entries
    trials = [[None if r.configuration is None else r.configuration.trial for r in e.reached] for e in entries]
    # 75, 50, 25 % of 0.41 ms are 0.3075, 0.205, 0.1025; of 0.40 ms they are 0.3, 0.2, 0.1.
    assert trials == [[2, 2, None], [1, 2, 3]]


def test_text_and_json(known_run: Any, other_run: Any) -> None:
    found = compare([known_run, other_run])
    lines = str(found).splitlines()
    assert lines[0].startswith("Run")
    assert "Accuracy at 50% of dense latency" in lines[0]
    assert lines[1].startswith("run ")
    assert lines[1].endswith("none")
    assert lines[2].startswith("fewer ")
    plain = json.loads(json.dumps(found.to_dict()))
    assert [run["front"] for run in plain["runs"]] == [5, 4]
    assert plain["runs"][0]["reached"][2] == {"share": 0.25, "trial": None, "accuracy": None, "test_accuracy": None}


def test_what_is_not_alike_is_noted(runs: ModuleType, tmp_path: Path, known_run: Any, other_run: Any) -> None:
    assert compare([known_run, other_run]).notes == (
        f"Without final numbers, as their search has not come to its end: {other_run.path}.",
    )
    device = runs.write_run(tmp_path / "run", device="raspberry-pi-4")
    notes = compare([known_run, device]).notes
    assert "Devices differ: host; raspberry-pi-4." in notes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "cifar10-resnet8"}, "task digits and cifar10-resnet8"),
        ({"data_fingerprint": "e" * 64}, "data"),
        ({"objectives": ("accuracy", "macs")}, "objectives accuracy, latency_ms, size_bytes and accuracy, macs"),
    ],
)
def test_runs_that_answer_different_questions_are_refused(
    runs: ModuleType, tmp_path: Path, known_run: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        compare([known_run, runs.write_run(tmp_path / "run", **options)])


def test_one_run_cannot_be_compared(known_run: Any) -> None:
    with pytest.raises(InputError, match="two or more"):
        compare([known_run])
