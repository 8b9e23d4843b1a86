"""Fronts of several runs against one common reference point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, describe
from ..evaluators.configuration import Configuration
from ..evaluators.objectives import Objective
from ..evaluators.task.measure import ACCURACY, Measure
from ..jsonfile import write_text
from . import formatting as fmt
from .device_differences import DeviceDifferences, device_differences
from .picks import deciding

if TYPE_CHECKING:
    from ..search.run_folder import Run

SHARES = (0.75, 0.5, 0.25)
"""Of the dense network's latency (or other deciding cost) at which the best scores are compared."""
VERSION = 1


@dataclass(frozen=True)
class Reached:
    """The front member with the best score of one run within a share of its dense network's cost."""

    share: float
    configuration: Configuration | None
    """``None`` where no member is that cheap."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for ``--json``."""
        c = self.configuration
        return {
            "share": self.share,
            "trial": None if c is None else c.trial,
            "accuracy": None if c is None else c.metrics.get("accuracy"),
            "test_accuracy": None if c is None else c.metrics.get("test_accuracy"),
        }


@dataclass(frozen=True)
class Entry:
    """One run in a comparison."""

    name: str
    run: Run
    hypervolume: float
    reached: tuple[Reached, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for ``--json``."""
        info = self.run.info
        return {
            "run": str(self.run.path),
            "device": info.device,
            "seed": info.seed,
            "samples": info.samples,
            "trials": sum(t.state == "complete" for t in self.run.trials),
            "front": len(self.run.front.configurations),
            "hypervolume": self.hypervolume,
            "reached": [reached.to_dict() for reached in self.reached],
        }


@dataclass(frozen=True)
class Comparison:
    """Several runs of one task and the same objectives, side by side."""

    task: str
    entries: tuple[Entry, ...]
    objectives: tuple[Objective, ...]
    cost: Objective
    """The cost whose shares are compared: latency where it is an objective, else the first cost."""
    reference_point: Mapping[str, float]
    """The worst of the runs' own reference points, objective by objective."""
    dense: Mapping[str, float | None]
    """The best score and the worst costs of the runs' dense networks: what hypervolumes are scaled by."""
    notes: tuple[str, ...]
    """What differs between the runs beside the search, and so may explain a difference."""
    measure: Measure = ACCURACY
    """What the score is."""
    devices: DeviceDifferences | None = None
    """Why runs for different devices come to different fronts; ``None`` where they are for one."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for ``--json``."""
        return {
            "version": VERSION,
            "task": self.task,
            "objectives": {o.name: o.direction for o in self.objectives},
            "metric": self.measure.to_dict(),
            "cost": self.cost.name,
            "reference_point": dict(self.reference_point),
            "runs": [entry.to_dict() for entry in self.entries],
            "notes": list(self.notes),
            "device_differences": None if self.devices is None else self.devices.to_dict(),
        }

    def header(self) -> list[str]:
        """Return the table's column titles."""
        cost, name = fmt.label(self.cost.name).lower(), self.measure.name
        title = f"{name[:1].upper()}{name[1:]}"
        return ["Run", "Front", "Hypervolume", *(f"{title} at {s:.0%} of dense {cost}" for s in SHARES)]

    def rows(self) -> list[list[str]]:
        """Return the table's cells as text, one row per run."""
        return [
            [
                entry.name,
                str(len(entry.run.front.configurations)),
                fmt.significant(entry.hypervolume),
                *(_reached_text(reached, self.measure) for reached in entry.reached),
            ]
            for entry in self.entries
        ]

    def __str__(self) -> str:
        """Return the table as plain text with the notes below it."""
        table = [self.header(), *self.rows()]
        widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
        padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in table]
        lines = ["  ".join(row).rstrip() for row in padded]
        explained = () if self.devices is None else self.devices.sentences()
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes), *explained])

    def write_html(self, out: Path) -> Path:
        """Write the overlaid fronts as one HTML file that stands alone, and return its path."""
        from .comparison_report import comparison_html

        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, comparison_html(self))
        return out


def compare(runs: Sequence[Run]) -> Comparison:
    """Return the comparison of two or more runs of one task, one dataset and the same objectives.

    Raises:
        InputError: fewer than two runs, or their tasks, data or objectives differ; the difference is named.
    """
    if len(runs) < 2:
        raise InputError(describe(f"{len(runs)} run", expected="two or more", remedy="Name another run folder."))
    for other in runs[1:]:
        _check_same(runs[0], other)
    objectives, measure = runs[0].objectives, runs[0].measure
    reference = {o.name: _worst(o, [run.front.reference_point.get(o.name) for run in runs]) for o in objectives}
    dense = {o.name: _scale(o, measure, [run.front.dense.get(o.name) for run in runs]) for o in objectives}
    cost = deciding(objectives)
    common = {name: value for name, value in reference.items() if value is not None}
    entries = tuple(
        Entry(name, run, run.front.hypervolume_against(common, dense), _reached(run, cost))
        for name, run in zip(_names(runs), runs, strict=True)
    )
    names = [entry.name for entry in entries]
    explained = device_differences(names, runs)
    notes = tuple(_notes(runs))
    return Comparison(runs[0].info.task_name, entries, objectives, cost, common, dense, notes, measure, explained)


def _check_same(first: Run, other: Run) -> None:
    compared = {
        "task": (first.info.task_name, other.info.task_name),
        "data (fingerprint)": (first.info.data_fingerprint, other.info.data_fingerprint),
        "objectives": tuple(", ".join(sorted(o.name for o in run.objectives)) for run in (first, other)),
        "metric": tuple(_metric_words(run.measure) for run in (first, other)),
    }
    differences = [f"{what} {mine} and {theirs}" for what, (mine, theirs) in compared.items() if mine != theirs]
    if differences:
        raise InputError(
            describe(
                f"{first.path} and {other.path} differ in {'; '.join(differences)}",
                expected="runs of one task, one dataset and the same objectives",
                remedy="Compare runs that share these.",
            )
        )


def _worst(objective: Objective, values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return min(known) if objective.direction == "maximize" else max(known)


def _scale(objective: Objective, measure: Measure, values: Sequence[float | None]) -> float | None:
    """Return the best score or the largest cost of the dense networks."""
    if objective.is_score:
        return measure.best(values)
    return max((value for value in values if value is not None), default=None)


def _metric_words(measure: Measure) -> str:
    """Return what must be the same of two scores that are compared; from where on a network is of use need not be."""
    return f"({measure.words})"


def _reached(run: Run, cost: Objective) -> tuple[Reached, ...]:
    dense = run.front.dense.get(cost.name)
    return tuple(Reached(share, _best_within(run, cost, None if dense is None else share * dense)) for share in SHARES)


def _best_within(run: Run, cost: Objective, bound: float | None) -> Configuration | None:
    cheap = [
        c
        for c in run.front.configurations
        if bound is not None and (value := c.metrics.get(cost.name)) is not None and value <= bound
    ]
    return min(cheap, key=lambda c: run.measure.key(c.metrics.get("accuracy")), default=None)


def _reached_text(reached: Reached, measure: Measure) -> str:
    if reached.configuration is None:
        return "none"
    return fmt.score(reached.configuration.metrics.get("accuracy"), measure)


def _names(runs: Sequence[Run]) -> list[str]:
    """Return each run's folder name, or its whole path where two share a name."""
    short = [Path(run.path).name for run in runs]
    return [name if short.count(name) == 1 else str(run.path) for name, run in zip(short, runs, strict=True)]


def _notes(runs: Sequence[Run]) -> list[str]:
    compared = {
        "devices": [run.info.device for run in runs],
        "networks (fingerprints)": [run.info.model_fingerprint[:12] for run in runs],
        "fidelities (samples of fine-tuning)": [str(run.info.samples) for run in runs],
        "constraints": [", ".join(fmt.constraint(c, run.measure) for c in run.constraints) or "none" for run in runs],
        "latency sources": [run.dense.latency_source for run in runs],
    }
    notes = [
        f"{what.capitalize()} differ: {'; '.join(dict.fromkeys(values))}."
        for what, values in compared.items()
        if len(set(values)) > 1
    ]
    unfinished = [str(run.path) for run in runs if not run.finished]
    if unfinished:
        notes.append(f"Without final numbers, as their search has not come to its end: {', '.join(unfinished)}.")
    return notes
