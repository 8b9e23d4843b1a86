"""``trials.csv``: one row per trial, for spreadsheets and notebooks."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..jsonfile import write_text
from ..spaces.policy import Choice
from ..spaces.pruning_types import PRUNING_TYPES

if TYPE_CHECKING:
    from ..search.run_folder import Run, TrialRecord

_HEAD = ("trial", "state", "origin", "reason", "samples", "inherited_samples", "ancestor", "rung")
_TAIL = (
    *("latency_source", "latency_error", "on_front", "feasible", "precision"),
    *("predicted_latency_ms", "slower_than"),
)


def write_trials_csv(run: Run, path: Path | None = None) -> Path:
    """Write :func:`trials_csv` to ``path`` (``trials.csv`` in the run folder unless told) and return the path."""
    path = Path(run.path) / "trials.csv" if path is None else path
    write_text(path, trials_csv(run))
    return path


def trials_csv(run: Run) -> str:
    """Return the trials as CSV text.

    Columns: the trial's number, state, origin and reason; the samples it was trained on, those that the weights it
    started from had seen, the trial that these are of, and its rung of the ladder; every metric as the search saw it;
    the latency's source and relative error; whether it is on the front and feasible; its precision; the latency
    predicted before it was trained; the trial that keeps more and is faster beyond the error, if there is one; seconds
    by step; then ``kept:GROUP`` with the channels kept for each group, or, in words, the weights. A number that was not
    measured is an empty cell.
    """
    metrics = _union(t.configuration.metrics for t in run.trials if t.configuration is not None)
    steps = _union(t.seconds for t in run.trials)
    groups = _union(t.configuration.policy.choices for t in run.trials if t.configuration is not None)
    header = [*_HEAD, *metrics, *_TAIL, *(f"seconds:{s}" for s in steps), *(f"kept:{g}" for g in groups)]
    on_front = {c.trial for c in run.front.configurations}
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    for trial in run.trials:
        cells = [
            *_head(trial),
            *_metrics(trial, metrics),
            *_tail(trial, run, trial.number in on_front),
            *(trial.seconds.get(step) for step in steps),
            *_kept(trial, groups),
        ]
        writer.writerow(["" if cell is None else cell for cell in cells])
    return stream.getvalue()


def _union(names: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(name for some in names for name in some))


def _head(trial: TrialRecord) -> list[Any]:
    c = trial.configuration
    training = [None, None, None] if c is None else [c.samples, c.inherited_samples, c.ancestor]
    return [trial.number, trial.state, str(trial.origin), trial.reason, *training, trial.rung]


def _metrics(trial: TrialRecord, names: list[str]) -> list[Any]:
    if trial.configuration is None:
        return [None] * len(names)
    return [trial.configuration.metrics.get(name) for name in names]


def _tail(trial: TrialRecord, run: Run, on_front: bool) -> list[Any]:
    c = trial.configuration
    predicted = None if trial.predicted is None else trial.predicted[0]
    if c is None:
        return [None, None, _yes(False), None, None, predicted, None]
    told = [c.latency_source, c.latency_error, _yes(on_front), _yes(c.feasible(run.constraints)), c.policy.precision]
    return [*told, predicted, run.slower_than.get(trial.number)]


def _kept(trial: TrialRecord, groups: list[str]) -> list[Any]:
    if trial.configuration is None:
        return [None] * len(groups)
    choices = trial.configuration.policy.choices
    return [_amount(choices[group]) if group in choices else None for group in groups]


def _amount(choice: Choice) -> int | str:
    kind = PRUNING_TYPES.get(choice.type)
    return kind.words(choice) if kind.zeroes else choice.kept


def _yes(value: bool) -> str:
    return "true" if value else "false"
