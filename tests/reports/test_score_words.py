"""A search that minimises an error, from the task to a verified export: its direction, and what it is called."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from espalier.cli.main import app
from espalier.errors import ConstraintError
from espalier.evaluators.objectives import Constraint
from espalier.evaluators.task.measure import ACCURACY, Measure
from espalier.reports import formatting as fmt
from espalier.reports.baseline_comparison import compare_baselines
from espalier.reports.comparison import compare
from espalier.reports.comparison_report import comparison_html
from espalier.reports.export import export
from espalier.reports.html_report import report_html
from espalier.reports.picks import answer, parse_max_drop
from espalier.reports.verify import verify
from espalier.search.run_folder import Run, open_run
from espalier.search.run_search import run_search

REGRESSION = '''
"""A disease's progress from ten measurements, made like the diabetes data of scikit-learn."""

from __future__ import annotations

import torch
from torch import nn

from espalier.evaluators.task.task import Task


def data(count, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 10, generator=generator)
    y = 150 + 40 * x[:, :1] + 30 * torch.tanh(x[:, 1:2] * x[:, 2:3]) + 15 * torch.randn(count, 1, generator=generator)
    return x, y


class Progress(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        return 150 + 50 * self.body(x)


def loss(outputs, targets):
    return ((outputs - targets) / 50).square().mean()


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Progress()
        x, y = data(600, 1)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(100):
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
    return model.eval()


common = dict(
    model=network,
    example_input=torch.zeros(1, 10),
    train=data(600, 1),
    validation=data(300, 2),
    test=data(300, 3),
    loss=loss,
    batch_size=64,
    learning_rate=0.02,
)
task = Task(name="progress", metric="rmse", unit="mm", **common)


def rmse(outputs, targets):
    return float((outputs - targets).square().mean().sqrt())


undirected = Task(name="undirected", metric=rmse, metric_name="RMSE", **common)
'''


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("regression") / "regression.py"
    path.write_text(REGRESSION)
    return str(path)


def searched(reference: str, folder: Path, **options) -> Run:
    return run_search(reference, out=folder, device="cortex-m4", trials=6, samples=300, threads=1, **options)


@pytest.fixture(scope="module")
def run(reference: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run") / "regression"
    return searched(f"{reference}:task", folder, objectives="metric,size", baselines=True)


def text_of(page: str) -> str:
    """Return what a page shows."""
    bare = re.sub(r"<(script|style).*?</\1>", " ", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", bare)))


def drawn(page: str) -> str:
    """Return the data that a page's scripts draw."""
    return "".join(re.findall(r'<script type="application/json".*?</script>', page, flags=re.DOTALL))


def test_the_front_holds_the_lowest_errors(run: Run):
    document = json.loads((Path(run.path) / "front.json").read_text())
    assert document["objectives"] == {"accuracy": "minimize", "size_bytes": "minimize"}
    assert document["metric"] == {
        "name": "RMSE",
        "direction": "minimize",
        "unit": "mm",
        "higher_is_better": False,
        "share": False,
        "usable_from": None,
    }
    dense = document["dense"]["accuracy"]
    assert 10 < dense < 40  # the noise alone is 15
    assert document["reference_point"]["accuracy"] == pytest.approx(2 * dense)
    found = [(c["metrics"]["size_bytes"], c["metrics"]["accuracy"]) for c in document["configurations"]]
    assert len(found) > 2
    assert found == sorted(found)
    errors = [error for _, error in found]
    assert errors == sorted(errors, reverse=True)  # the larger, the better
    best = next(c for c in document["configurations"] if "most-accurate" in c["tags"])
    assert best["metrics"]["accuracy"] == min(errors)
    tried = [c.metrics["accuracy"] for c in run.configurations]
    assert min(errors) == pytest.approx(min(e for e in tried if e is not None))
    assert run.front.hypervolume > 0


def test_picks_bound_the_error_from_above(run: Run):
    dense = run.dense.metrics["accuracy"]
    assert dense is not None
    for drop, bound in (("5%", 1.05 * dense), ("4", dense + 4), ("4mm", dense + 4), ("4 mm", dense + 4)):
        found = answer(run, max_drop=drop)
        assert found.wishes[0].operator == "<="
        assert found.wishes[0].bound == pytest.approx(bound, abs=1e-6)
        assert found.configuration is not None
        error = found.configuration.metrics["accuracy"]
        assert error is not None
        assert error <= bound + 1e-6
        meeting = [c for c in run.front.configurations if (c.metrics["accuracy"] or 0) <= bound + 1e-6]
        assert found.configuration.metrics["size_bytes"] == min(c.metrics["size_bytes"] or 0 for c in meeting)
    missed = answer(run, constraints=[Constraint.parse("metric<=1")])
    assert missed.configuration is None
    assert missed.nearest is not None
    assert "most-accurate" in missed.nearest.tags
    assert "which misses RMSE at most 1.000\u202fmm by" in str(missed)
    assert "accura" not in str(missed)
    with pytest.raises(ConstraintError, match="how much RMSE may be worse"):
        answer(run, max_drop="-1")


def test_no_page_calls_it_an_accuracy(run: Run):
    page = report_html(run)
    shown = text_of(page)
    assert not re.findall(r".{30}accura.{20}", shown, flags=re.IGNORECASE)
    assert "Validation RMSE" in shown
    assert "Best RMSE" in shown
    assert "RMSE in mm, lower is better" in shown
    # Points are of shares; what is left are those of the chart.
    assert not re.findall(r"\d\s*points", shown)
    assert re.findall(r"[+\u2212]\d[\d.]* mm", shown)
    assert "accuracy:" not in drawn(page).lower()
    compared = comparison_html(compare([run, run]))
    assert "accura" not in text_of(compared).lower()
    assert "RMSE at 50% of dense size" in str(compare([run, run]))


def test_a_rise_of_the_error_is_marked_as_worse(run: Run):
    from espalier.reports.sections.networks import cell, dense_network, picked

    dense = dense_network(run)
    for network in picked(run):
        error, before = network.metrics["accuracy"], dense.metrics["accuracy"]
        assert error is not None
        assert before is not None
        if error != before:
            assert cell("accuracy", network, dense)["better"] == (error < before)


def test_baselines_are_compared_in_the_same_direction(run: Run):
    found = compare_baselines(run)
    assert found is not None
    assert found.to_dict()["objectives"]["accuracy"] == "minimize"
    for contender in (found.search, *found.baselines):
        assert contender.hypervolume > 0


def test_the_command_line_says_what_it_is(run: Run):
    out = CliRunner().invoke(app, ["pick", str(run.path), "--max-drop", "10%"])
    assert out.exit_code == 0, out.output
    assert "RMSE" in out.output
    assert "accura" not in out.output
    plain = json.loads(CliRunner().invoke(app, ["pick", str(run.path), "--max-drop", "10%", "--json"]).output)
    assert plain["metric"]["name"] == "RMSE"


def test_an_export_says_and_verifies_it(run: Run, tmp_path: Path):
    folder = export(run, "most-accurate", tmp_path / "export")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["metric"]["direction"] == "minimize"
    card = (folder / "README.md").read_text()
    assert "Validation RMSE" in card
    assert "The score: RMSE in mm, lower is better." in card
    assert not re.findall(r".{20}accuracy.{20}", card, flags=re.IGNORECASE)
    found = verify(folder, trust=True)
    assert {check.name for check in found.checks if not check.passed} <= {"latency_ms"}
    assert found.measure.name == "RMSE"
    shown = CliRunner().invoke(app, ["verify", str(folder), "--trust"]).output
    assert "test RMSE" in shown


def test_a_metric_that_improves_with_the_smallest_network_is_doubted(reference: str, tmp_path: Path):
    run = searched(f"{reference}:undirected", tmp_path / "run", objectives="accuracy,size")
    (event,) = [e for e in run.events if e["event"] == "direction doubted"]
    assert 'direction="minimize"' in event["text"]
    assert "RMSE improves from" in event["text"]
    assert 'say direction="minimize" in the task' in text_of(report_html(run))


def test_the_right_direction_is_not_doubted(run: Run):
    assert not [e for e in run.events if e["event"] == "direction doubted"]
    assert "Check the direction" not in text_of(report_html(run))


def test_the_run_says_what_it_was_trained_with(run: Run):
    stored = json.loads((Path(run.path) / "run.json").read_text())
    assert stored["training"]["optimizer"] == "sgd"
    assert stored["training"]["learning_rate"] == 0.02
    assert "SGD, learning rate 0.02, cosine schedule" in text_of(report_html(run))


def test_a_run_without_a_metric_is_of_accuracy(tiny_run: Path, tmp_path: Path):
    import shutil

    folder = tmp_path / "old"
    shutil.copytree(tiny_run, folder)
    content = json.loads((folder / "run.json").read_text())
    del content["metric"], content["training"]
    (folder / "run.json").write_text(json.dumps(content))
    old = open_run(folder)
    assert old.measure == ACCURACY
    assert old.front_document()["metric"]["name"] == "accuracy"
    assert "Validation accuracy" in text_of(report_html(old))


def test_the_words_of_a_score():
    rmse = Measure("RMSE", "minimize", "mm", share=False)
    assert fmt.metric("accuracy", 19.1378, rmse) == "19.14\u202fmm"
    assert fmt.metric("accuracy", 0.25, rmse) == "0.2500\u202fmm"
    assert fmt.change("accuracy", 20.0, 19.0, rmse) == "+1.00\u202fmm"
    assert fmt.change("test_accuracy", 18.5, 19.0, rmse) == f"{fmt.MINUS}0.500\u202fmm"
    assert fmt.change("accuracy", 0.95, 0.98, ACCURACY) == f"{fmt.MINUS}3.00\u202fpoints"
    assert fmt.label("test_accuracy", rmse) == "Test RMSE"
    assert fmt.label("accuracy_recalibrated", rmse) == "RMSE before fine-tuning"
    assert fmt.inline("accuracy", rmse) == "validation RMSE"
    assert fmt.constraint(Constraint.parse("metric<=20"), rmse) == "RMSE<=20"
    assert fmt.constraint(Constraint.parse("size<=20"), rmse) == "size_bytes<=20"
    assert parse_max_drop("1%") == 0.01
    assert parse_max_drop("5%", rmse, dense=20.0) == 1.0
