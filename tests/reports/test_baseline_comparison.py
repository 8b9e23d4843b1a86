"""A front beside its baselines', hand-computed."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from espalier.evaluators.evaluation import Evaluation
from espalier.evaluators.request import FinishedNetwork
from espalier.reports.baseline_comparison import compare_baselines, write_baselines_json
from espalier.reports.html_report import render_report, report_html
from espalier.reports.sections.baselines import baselines
from espalier.search.run_folder import Run, open_run
from espalier.search.run_folder.baseline_record import Baseline, Level, baseline_folder, write_baseline
from espalier.search.run_folder.finished_networks import write_finished
from espalier.search.run_folder.used_budget import UsedBudget

SEARCH_VOLUME = ((0.19 - 0.11) * 0.41 + (0.205 - 0.19) * 0.47 + (0.31 - 0.205) * 0.475 + (0.41 - 0.31) * 0.485) / (
    0.41 * 0.49
)
"""Of the known run's front in accuracy and latency: 0.90 at 0.11 ms, 0.96 at 0.19, 0.965 at 0.205, 0.975 at 0.31, from
0.49 at 0.41 ms."""
UNIFORM_VOLUME = (0.41 - 0.205) * 0.46 / (0.41 * 0.49)
ITERATIVE_VOLUME = ((0.205 - 0.082) * 0.44 + (0.41 - 0.205) * 0.48) / (0.41 * 0.49)


def plain(text: str) -> str:
    return text.replace("\u202f", " ")


def add(runs: ModuleType, run: Run, name: str, found: dict[int, tuple[float, float]]) -> Run:
    """Write a baseline whose networks, by level, have these accuracies and latencies, and open the run anew."""
    metrics = {number: runs.metrics(*pair, 100, test_accuracy=pair[0]) for number, pair in found.items()}
    levels = tuple(
        Level(number, 0.25, runs.policy(1 - number / 8), Evaluation(m, "measured", 0.02, 2000), None, 30.0)
        for number, m in metrics.items()
    )
    folder = baseline_folder(run.path, name)
    folder.mkdir(parents=True)
    write_baseline(folder, Baseline(name, UsedBudget(90.0, 5000, 7), levels))
    # The machine took twice as long for the dense network as at the end of the search.
    dense = FinishedNetwork(None, Evaluation(runs.metrics(0.98, 0.82, 300), "measured", 0.02))
    write_finished(folder, [dense, *(FinishedNetwork(n, Evaluation(m, "measured", 0.02)) for n, m in metrics.items())])
    return open_run(run.path)


@pytest.fixture
def run(runs: ModuleType, tmp_path: Path) -> Run:
    """The known run with uniform pruning; its second network misses the run's accuracy>=0.8."""
    return add(runs, runs.write_run(tmp_path / "run"), "uniform", {1: (0.95, 0.41), 2: (0.70, 0.20)})


@pytest.fixture
def beaten(runs: ModuleType, run: Run) -> Run:
    return add(runs, run, "iterative uniform", {1: (0.97, 0.41), 2: (0.93, 0.164)})


def test_hypervolumes_are_against_the_runs_reference_point_on_its_clock(beaten: Run) -> None:
    found = compare_baselines(beaten)
    assert found is not None
    assert found.search.hypervolume == pytest.approx(SEARCH_VOLUME)
    assert [b.hypervolume for b in found.baselines] == pytest.approx([UNIFORM_VOLUME, ITERATIVE_VOLUME])
    assert [len(b.front.configurations) for b in found.baselines] == [1, 2]
    assert found.search.front.reference_point == pytest.approx({"accuracy": 0.49, "latency_ms": 0.41})


def test_the_verdict_says_who_won_also_where_the_search_lost(run: Run, runs: ModuleType) -> None:
    won = compare_baselines(run)
    assert won is not None
    assert "the search beat the best baseline by 47 %" in plain(won.verdict)
    lost = compare_baselines(add(runs, run, "iterative uniform", {1: (0.97, 0.41), 2: (0.93, 0.164)}))
    assert lost is not None
    assert "the search lost to the best baseline by 9 %" in plain(lost.verdict)
    assert "0.759 of iterative uniform" in plain(lost.verdict)


def test_fronts_alike_are_called_so(run: Run, runs: ModuleType) -> None:
    same = {1: (0.90, 0.22), 2: (0.96, 0.38), 3: (0.965, 0.41), 4: (0.975, 0.62)}
    found = compare_baselines(add(runs, run, "iterative uniform", same))
    assert found is not None
    assert "no better than the best baseline" in found.verdict


def test_the_report_tells_budgets_and_verdict(beaten: Run) -> None:
    found = baselines(beaten)
    assert found is not None
    assert [(row["name"], plain(row["spent"]), row["members"]) for row in found["rows"]] == [
        ("This search", "5 000 samples", "5"),
        ("Uniform", "4 000 samples", "1"),
        ("Iterative uniform", "4 000 samples", "2"),
    ]
    text = report_html(beaten)
    assert 'id="baselines"' in text
    assert found["verdict"] in text


def test_a_run_without_baselines_has_no_such_part(known_run: Any) -> None:
    assert baselines(known_run) is None
    assert write_baselines_json(known_run) is None
    assert 'id="baselines"' not in report_html(known_run)


def test_they_are_written_as_plain_data(beaten: Run) -> None:
    path = write_baselines_json(beaten)
    assert path is not None
    stored = json.loads(path.read_text())
    assert stored["budget"] == "samples"
    assert [b["name"] for b in stored["baselines"]] == ["uniform", "iterative uniform"]
    assert [m["number"] for m in stored["baselines"][1]["members"]] == [2, 1]
    assert "baselines" not in beaten.front_document()


@pytest.mark.browser
def test_the_fronts_are_drawn_beside_the_searchs(browser: Any, beaten: Run, tmp_path: Path) -> None:
    path = render_report(beaten, tmp_path / "report.html")
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_selector("#front-chart .main-svg")
    # Lines of the front and of both baselines; the second alone has two networks to join.
    assert page.locator("#front-chart .scatterlayer .trace.scatter .js-line").count() >= 2
    assert page.locator("#baselines tbody tr").count() == 3
    assert complaints == []
    page.close()
