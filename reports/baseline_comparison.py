"""A run's front beside those of its built-in baselines: what the search was worth, at equal budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..evaluators.configuration import Configuration
from ..evaluators.front import Front
from ..evaluators.objectives import Objective
from ..jsonfile import write_json
from . import formatting as fmt
from .picks import deciding

if TYPE_CHECKING:
    from ..search.run_folder import Baseline, Run

TIE = 0.01
"""Hypervolumes nearer to each other than this share count as equal."""
_TIMED = ("latency_ms", "energy_mj")


@dataclass(frozen=True)
class Contender:
    """One front in the comparison."""

    name: str
    front: Front
    """In the score and the deciding cost alone, against the run's own dense network."""
    seconds: float
    """Used up, by the clock of the search's budget; those of several workers added up."""
    samples: int
    """Trained on."""

    @property
    def hypervolume(self) -> float:
        """Against the run's reference point."""
        return self.front.hypervolume

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "name": self.name,
            "seconds": self.seconds,
            "samples": self.samples,
            "hypervolume": self.hypervolume,
            "members": [{"number": c.trial, "metrics": dict(c.metrics)} for c in self.front.configurations],
        }


@dataclass(frozen=True)
class BaselineComparison:
    """The search against its baselines."""

    search: Contender
    baselines: tuple[Contender, ...]
    cost: Objective
    timed: bool
    """Whether budgets are equal in seconds; in training samples otherwise."""

    @property
    def verdict(self) -> str:
        """Who won, in a sentence."""
        best = max(self.baselines, key=lambda b: b.hypervolume)
        ours, theirs = self.search.hypervolume, best.hypervolume
        if max(ours, theirs) <= 0:
            return "Neither the search nor a baseline beats the reference point."
        told = f"hypervolume {fmt.significant(ours)} against {fmt.significant(theirs)} of {best.name} pruning"
        if abs(ours - theirs) <= TIE * max(ours, theirs):
            return f"At equal budget the search did no better than the best baseline: {told}."
        if ours < theirs:
            less = fmt.percent(1 - ours / theirs)
            return f"At equal budget the search lost to the best baseline by {less}: {told}."
        more = "" if theirs <= 0 else f" by {fmt.percent(ours / theirs - 1)}"
        return f"At equal budget the search beat the best baseline{more}: {told}."

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``baselines.json``."""
        return {
            "version": 1,
            "objectives": {o.name: o.direction for o in self.search.front.objectives},
            "metric": self.search.front.measure.to_dict(),
            "reference_point": self.search.front.reference_point,
            "budget": "seconds" if self.timed else "samples",
            "search": self.search.to_dict(),
            "baselines": [baseline.to_dict() for baseline in self.baselines],
            "verdict": self.verdict,
        }


def compare_baselines(run: Run) -> BaselineComparison | None:
    """Return the comparison of a run with its baselines; ``None`` where it has none that have come to their end."""
    if not run.baselines:
        return None
    cost, used = deciding(run.objectives), run.baselines[0].budget
    search = Contender("search", _front(run, run.front.configurations, cost), used.seconds, used.samples)
    others = tuple(Contender(b.name, _front(run, _beside(run, b), cost), b.seconds, b.samples) for b in run.baselines)
    return BaselineComparison(search, others, cost, run.info.options.budget is not None)


def write_baselines_json(run: Run) -> Path | None:
    """Write ``baselines.json`` into the run's folder and return its path; nothing where there is no baseline."""
    found = compare_baselines(run)
    if found is None:
        return None
    path = Path(run.path) / "baselines.json"
    write_json(path, found.to_dict())
    return path


def _front(run: Run, configurations: tuple[Configuration, ...], cost: Objective) -> Front:
    both = (run.measure.objective, cost)
    return Front.of(
        configurations,
        objectives=both,
        dense=run.dense.metrics,
        constraints=run.constraints,
        measure=run.measure,
    )


def _beside(run: Run, baseline: Baseline) -> tuple[Configuration, ...]:
    """Return a baseline's networks with latencies as if measured beside the run's front.

    They were measured later, beside the same dense network: what that took then and now puts them right.
    """
    then, now = run.dense.metrics.get("latency_ms"), baseline.finished[None].metrics.get("latency_ms")
    factor = then / now if then and now and baseline.finished[None].evaluation.latency_source == "measured" else 1.0
    return tuple(c.with_metrics(_scaled(c.metrics, factor)) for c in baseline.configurations)


def _scaled(metrics: Mapping[str, float | None], factor: float) -> dict[str, float | None]:
    timed = {name: value * factor for name in _TIMED if (value := metrics.get(name)) is not None}
    return {**metrics, **timed}
