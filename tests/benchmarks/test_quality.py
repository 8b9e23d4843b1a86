from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from espalier.benchmarks.quality import command, methods
from espalier.benchmarks.quality.base import METHODS, OURS, is_ours
from espalier.benchmarks.quality.budget import Budget, BudgetSpentError
from espalier.benchmarks.quality.cutting import Cutter, choices, rounded
from espalier.benchmarks.quality.fronts import Scored, accuracy_at, front, test_hypervolume, time_to, timeline
from espalier.benchmarks.quality.results import Job
from espalier.benchmarks.quality.summary import as_text, tables
from espalier.errors import UnknownNameError
from espalier.examples.cifar10_networks import ResNet8, ResNet20

volume = test_hypervolume
test_hypervolume.__test__ = False


def scored(validation: float, latency: float, *, test: float | None = None, seconds: float = 1.0) -> Scored:
    return Scored(seconds, validation, validation if test is None else test, latency)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_budget_counts_from_its_making_and_not_while_paused() -> None:
    clock = Clock()
    budget = Budget(10.0, clock=clock)
    clock.now += 4.0
    with budget.paused():
        clock.now += 50.0
    assert (budget.used, budget.left) == (4.0, 6.0)
    budget.check()
    clock.now += 6.1
    assert not budget.over  # 1 % late, which counts still
    with pytest.raises(BudgetSpentError, match=r"10\.1 of 10\.0 CPU seconds"):
        budget.check()
    clock.now += 0.2
    assert budget.over


def test_dense_accuracy_at_no_latency_would_be_a_hypervolume_of_one() -> None:
    assert volume([scored(0.8, 0.0)], dense_test=0.8) == pytest.approx(1.0)
    assert volume([scored(0.8, 0.35)], dense_test=0.8) == pytest.approx(0.65)


def test_the_hypervolume_of_two_steps_is_their_area() -> None:
    # Half way between reference (0.4) and dense (0.8) at half the latency; three quarters of the way at 0.75.
    found = volume([scored(0.6, 0.5), scored(0.7, 0.75)], dense_test=0.8)
    assert found == pytest.approx(0.5 * 0.5 + 0.25 * 0.25)


def test_nothing_is_gained_beyond_the_reference_point() -> None:
    assert volume([scored(0.4, 0.2), scored(0.8, 1.0), scored(0.8, 1.2)], dense_test=0.8) == 0.0


def test_the_front_is_chosen_by_validation_and_valued_by_test() -> None:
    lucky, sound = scored(0.7, 0.5, test=0.5), scored(0.6, 0.6, test=0.65)
    assert front([sound, lucky]) == [lucky]
    assert volume([sound, lucky], dense_test=0.8) == pytest.approx(0.25 * 0.5)
    assert accuracy_at([sound, lucky], 0.75) == 0.5
    assert accuracy_at([sound, lucky], 0.25) is None


def test_a_timeline_tells_when_a_hypervolume_was_reached_for_good() -> None:
    late, early = scored(0.8, 0.5, seconds=20.0), scored(0.6, 0.5, seconds=10.0)
    line = timeline([late, early], dense_test=0.8)
    assert line == [(10.0, pytest.approx(0.25)), (20.0, pytest.approx(0.5))]
    assert time_to(line, 0.25) == 10.0
    assert time_to(line, 0.3) == 20.0
    assert time_to(line, 0.6) is None
    assert time_to([(1.0, 0.5), (2.0, 0.3), (3.0, 0.5)], 0.4) == 3.0


@pytest.mark.parametrize(
    ("width", "channels", "kept"), [(14, 16, 16), (12, 16, 8), (1, 16, 8), (3, 6, 6), (19, 20, 20), (28, 32, 24)]
)
def test_widths_are_rounded_to_the_nearest_multiple(width: int, channels: int, kept: int) -> None:
    assert rounded(width, channels) == kept


def test_choices_end_with_all_channels() -> None:
    assert choices(20) == (8, 16, 20)
    assert choices(8) == (8,)


def test_torch_pruning_cuts_all_of_a_resnet8_and_the_inside_of_a_resnet20() -> None:
    x = torch.zeros(1, 3, 32, 32)
    whole = Cutter.of(ResNet8().eval(), x)
    assert whole.scope == "all"
    assert sorted(whole.channels.values()) == [16, 16, 32, 32, 64, 64]
    inner = Cutter.of(ResNet20().eval(), x)
    assert inner.scope == "inner"
    assert len(inner.channels) == 9
    assert all(name.endswith(".conv1") for name in inner.channels)


def test_a_cut_has_the_widths_asked_for_and_leaves_its_source() -> None:
    model, x = ResNet8().eval(), torch.zeros(1, 3, 32, 32)
    cutter = Cutter.of(model, x)
    widths = cutter.uniform(0.5)
    small = cutter.cut(model, widths)
    assert cutter.widths(small) == widths
    assert cutter.widths(model) == cutter.dense
    assert small(x).shape == (1, 10)


def candidate(seconds: float, validation: float, test: float, latency: float) -> dict[str, Any]:
    shown = {"front": True, "label": "one"}
    return {"seconds": seconds, "validation": validation, "test": test, "latency": latency, **shown}


def result(method: str, seed: int, hypervolume: float) -> dict[str, Any]:
    return {
        "task": "t",
        "method": method,
        "seed": seed,
        "budget": 300.0,
        "dense": {"test": 0.8, "latency_ms": 0.2},
        "hypervolume": hypervolume,
        "timeline": [[50.0, hypervolume / 2], [100.0, hypervolume]],
        "candidates": [
            candidate(50.0, 0.7, hypervolume + 0.2, 0.6),
            candidate(100.0, 0.6, hypervolume + 0.1, 0.45 if seed else 0.55),
        ],
    }


def test_methods_are_compared_by_seed() -> None:
    results = [result("espalier", 0, 0.5), result("espalier", 1, 0.3), result("a", 0, 0.25), result("a", 1, 0.3)]
    (table,) = tables([*results, result("b", 2, 0.1)])
    rows = {row.method: row for row in table.rows}
    assert rows["a"].ratio is not None
    assert rows["a"].ratio.mean == pytest.approx(1.5)
    assert rows["a"].seconds_to is not None
    assert rows["a"].seconds_to.mean == pytest.approx(75.0)
    assert rows["a"].accuracy_at["0.5"] is None  # not reached with every seed
    assert rows["b"].ratio is None  # no common seed
    assert rows["espalier"].ratio is None
    text = as_text(table)
    assert "against the best published method, a: 1.50 ± 0.71 times" in text
    assert text.endswith("45% of the dense latency: with the dense accuracy there, the hypervolume would be 0.550")
    assert "at 65% of the dense latency: +12.5 points on a" in text


def test_every_method_is_registered_and_says_what_it_does() -> None:
    assert len([name for name in METHODS if name == OURS or not is_ours(name)]) == len(methods.__all__)
    assert all(METHODS.get(name).description for name in METHODS)


def test_what_is_done_already_is_not_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = Job(tmp_path, "no/such/file.py:task", "espalier", 0, 300.0)
    job.path.parent.mkdir(parents=True)
    job.path.write_text(json.dumps({"version": 1, **result("espalier", 0, 0.5)}))
    arguments = ["--methods", "espalier", "--tasks", job.task, "--seeds", "0", "--out", str(tmp_path)]
    assert command.main(arguments) == 0
    assert "0.500" in capsys.readouterr().out
    assert (tmp_path / "fronts.html").stat().st_size > 1_000_000
    assert json.loads((tmp_path / "summary.json").read_text())["tables"][0]["rows"][0]["method"] == "espalier"


def test_an_unknown_method_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--methods", "espalir", "--out", str(tmp_path)]) == 2
    assert "espalier" in capsys.readouterr().err
    with pytest.raises(UnknownNameError):
        METHODS.get("espalir")


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_makes_a_front_of_the_digits(name: str, tmp_path: Path) -> None:
    arguments = ["--tasks", "digits", "--seeds", "0", "--budget", "40", "--out", str(tmp_path)]
    assert command.main(["run", "--methods", name, *arguments]) == 0
    found = json.loads((tmp_path / "digits-40s" / f"{name}-0.json").read_text())
    assert found["hypervolume"] > 0
    assert found["hypervolume"] == found["timeline"][-1][1]
    assert any(c["front"] for c in found["candidates"])
