"""Whole searches whose every trial is known: what is tried, in what order, for how long and from whose weights.

Formulas stand for the network and a clock that only they move for time, so a search comes out alike everywhere. The
lists in ``golden/`` change only where the search itself is meant to; then write them anew with
``ESPALIER_UPDATE_SNAPSHOTS=1`` and read the difference.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from espalier.errors import Interrupted
from espalier.search.budget.timer import Timer
from espalier.search.executors import EXECUTORS
from espalier.search.options import SearchOptions
from espalier.search.progress import NoProgress
from espalier.search.run_folder import open_run
from espalier.search.run_search import search_problem
from espalier.testing.analytic_training import FakeClock, InterleavingExecutor, learning_problem

GOLDEN = Path(__file__).parent / "golden"
CHANNELS = (8, 16, 16, 24)


class Stopping(NoProgress):
    """Stops the search, as Ctrl-C does, once so many trials are done."""

    def __init__(self, after: int) -> None:
        self._after = after

    def update(self, snapshot):
        if snapshot().done >= self._after:
            raise KeyboardInterrupt


@pytest.fixture
def clock(monkeypatch):
    made = FakeClock()
    monkeypatch.setattr("time.time", made)  # the log's, from which a resumed search knows how long it has run
    return made


@pytest.fixture
def search(tmp_path, clock):
    def run(*, resume=False, progress=None, problem=None, **options):
        made = learning_problem(*CHANNELS, clock=clock, **(problem or {}))
        checked = SearchOptions(**{"task": "learning", "threads": 1, "types": ("channel", "block"), **options})
        return search_problem(
            made, checked, tmp_path / "run", resume=resume, progress=progress, timer=Timer.start(clock)
        )

    return run


def half_of_the_first_group(space):
    return [space.policy({**space.values(space.uniform("channel", 99)), "layer0:kept": 4})]


def test_a_search_by_trials(search):
    run = search(trials=60, problem={"failing": (7, 25), "given": half_of_the_first_group})
    check("trials", run)


def test_a_search_by_budget_at_two_precisions(search):
    problem = {"precisions": ("fp32", "int8"), "screened": True}
    run = search(trials=300, budget=120.0, precision="fp32,int8", constraints="latency_ms<=0.045", problem=problem)
    assert any(trial.state == "rejected" for trial in run.trials)
    check("budget", run)


def test_an_interrupted_and_resumed_search(search, tmp_path):
    with pytest.raises(Interrupted):
        search(trials=200, budget=60.0, progress=Stopping(after=5), seed=1)
    assert sum(trial.state == "abandoned" for trial in open_run(tmp_path / "run").trials) == 1
    check("resumed", search(trials=200, budget=60.0, resume=True, seed=1))


def test_a_search_with_two_workers(search, monkeypatch):
    monkeypatch.setitem(EXECUTORS._entries, "interleaving", InterleavingExecutor)
    check("workers", search(trials=200, budget=60.0, workers=2, seed=2, patience=40, executor="interleaving"))


def check(name, run):
    found = "\n".join(json.dumps(line) for line in lines(run)) + "\n"
    stored = GOLDEN / f"{name}.jsonl"
    if os.environ.get("ESPALIER_UPDATE_SNAPSHOTS"):
        stored.write_text(found)
    assert found.splitlines() == stored.read_text().splitlines()


def lines(run):
    """Return what is to stay as it is: each trial, and the front."""
    for trial in run.trials:
        found = {"trial": trial.number, "state": trial.state, "origin": str(trial.origin)}
        if (configuration := trial.configuration) is not None:
            policy = json.loads(run.policy_path(trial.number).read_text())
            found |= {
                "kept": [choice["kept"] for choice in policy["choices"].values()],
                "precision": policy["precision"],
                "samples": configuration.samples,
                "inherited": configuration.inherited_samples,
                "ancestor": configuration.ancestor,
            }
        others = {"rung": trial.rung, "duplicate_of": trial.duplicate_of, "retry_of": trial.retry_of}
        yield found | {what: value for what, value in {**others, "reason": trial.reason}.items() if value is not None}
    yield {"front": [c.trial for c in run.front.configurations]}
