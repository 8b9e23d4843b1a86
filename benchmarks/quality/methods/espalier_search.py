"""Espalier's search through its public API."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

import espalier
from espalier.search.progress import Snapshot
from espalier.search.run_folder import Run

from ..base import METHODS, Candidate
from ..budget import Budget
from ..setting import Setting

MANY = 100_000
"""Trials: more than any budget allows."""


class EspalierSearch:
    """One search by accuracy and latency on this machine, one worker, one thread.

    Args:
        options: of ``run_search``, where they differ from its own defaults.
    """

    def __init__(self, **options: Any) -> None:
        told = "".join(f", {name}={value!r}" for name, value in options.items())
        self.description = f"espalier.run_search(task, device='host', objectives=('accuracy', 'latency_ms'){told})"
        self._options = options

    def search(self, setting: Setting) -> Iterator[Candidate]:
        """Yield every network that was on the search's front at some time, with the time at which it came."""
        with tempfile.TemporaryDirectory(prefix="espalier-quality-") as folder:
            watcher = Watcher(Path(folder), setting.budget)
            run = espalier.run_search(
                _light(setting),
                out=watcher.run,
                trials=MANY,
                budget=setting.budget.left,
                workers=1,
                threads=1,
                objectives=("accuracy", "latency_ms"),
                seed=setting.seed,
                progress=watcher,
                clock=lambda: setting.budget.used,
                **self._options,
            )
            yield from _candidates(setting, run, watcher)


class Watcher:
    """Keeps the weights of each trial that came to the front, as a search deletes those that were beaten."""

    def __init__(self, folder: Path, budget: Budget) -> None:
        self.run = folder / "run"
        self.kept = folder / "kept"
        self.kept.mkdir()
        self.times: dict[Path, float] = {}
        self._seen: dict[str, int] = {}
        self._budget = budget

    def update(self, snapshot: Callable[[], Snapshot]) -> None:
        """Link the weights that are new."""
        with self._budget.paused():
            for path in sorted((self.run / "weights").glob("[0-9]*.safetensors")):
                written = path.stat().st_mtime_ns
                if self._seen.get(path.name) != written:
                    self._seen[path.name] = written
                    copy = self.kept / f"{path.stem}-{written}.safetensors"
                    os.link(path, copy)
                    self.times[copy] = self._budget.used

    def message(self, text: str) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


def _light(setting: Setting) -> espalier.Task:
    """Return the task without its test data, which are the benchmark's to score, and without another copy of the rest.

    A task with a reference is loaded anew by each evaluator; the time to read the data is nobody's here.
    """
    return dataclasses.replace(setting.task, test=None, reference=None)


def _candidates(setting: Setting, run: Run, watcher: Watcher) -> Iterator[Candidate]:
    model = setting.dense
    graph = espalier.trace(model, setting.example_input, freeze=setting.task.freeze)
    rankings = run.rankings
    configurations = {c.trial: c for c in run.configurations}
    for path, seconds in watcher.times.items():
        trial = int(path.stem.partition("-")[0])
        if trial not in configurations:
            continue
        found = configurations[trial]
        network = espalier.prune(model, graph, found.policy, rankings=rankings)
        network.load_state_dict(load_file(path))
        label = f"trial {trial}: {' '.join(str(c.kept) for c in found.policy.choices.values())}"
        yield Candidate(network.eval(), label, found.samples, found.metrics.get("accuracy"), seconds)


METHODS.add("espalier", EspalierSearch())
METHODS.add("espalier-channels", EspalierSearch(types=("channel",)))
METHODS.add("espalier-no-inherit", EspalierSearch(inherit=False))
METHODS.add("espalier-no-ladder", EspalierSearch(ladder=False))
