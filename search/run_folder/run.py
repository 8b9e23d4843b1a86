"""A run, read from its folder: its trials, its front and what it was searched with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna

from ...errors import RunFolderError, describe
from ...evaluators.configuration import Configuration
from ...evaluators.evaluation import Evaluation
from ...evaluators.front import Front
from ...evaluators.latency_inversions import slower_than
from ...evaluators.objectives import Constraint, Objective
from ...evaluators.request import FinishedNetwork
from ...evaluators.task.measure import Measure
from ...jsonfile import write_json
from ...spaces.importance.rankings import Rankings
from . import journal
from .audit_record import Audit, read_audit
from .baseline_record import Baseline, read_baselines
from .event_log import LOG, EventLog
from .finished_networks import read_finished, with_final_numbers
from .rankings import read_rankings
from .run_info import GraphSummary, RunInfo
from .trial_record import TrialRecord, policy_name, weights_name

FRONT = "front.json"


class Run:
    """One search, read from its folder. What it says is as of when it was opened; reading changes nothing."""

    def __init__(self, path: Path, info: RunInfo) -> None:
        self.path = path
        self.info = info

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, task={self.info.task_name!r}, device={self.info.device!r})"

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What was optimised."""
        return self.info.objectives

    @property
    def measure(self) -> Measure:
        """What the score is: name, unit and direction of what stands under ``accuracy``."""
        return self.info.metric

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """What every member of the front meets."""
        return self.info.parsed_constraints

    @property
    def graph_summary(self) -> GraphSummary:
        """The groups and the frozen groups of the network."""
        return self.info.graph

    @cached_property
    def trials(self) -> tuple[TrialRecord, ...]:
        """All trials that were begun, by number.

        Raises:
            RunFolderError: the study or a policy is absent or torn.
        """
        begun = (t for t in self._study.get_trials(deepcopy=False) if t.state != optuna.trial.TrialState.WAITING)
        return tuple(TrialRecord.of(trial, self.path) for trial in begun)

    @cached_property
    def configurations(self) -> tuple[Configuration, ...]:
        """The configurations of all complete trials, with final numbers where there are any."""
        return tuple(
            with_final_numbers(t.configuration, self.finished) for t in self.trials if t.configuration is not None
        )

    @cached_property
    def finished(self) -> Mapping[int | None, FinishedNetwork]:
        """Final numbers by trial; ``None`` is the dense network. Empty until a search has come to its end."""
        return read_finished(self.path)

    @property
    def dense(self) -> Evaluation:
        """The network as it was brought, with final numbers where there are any."""
        final = self.finished.get(None)
        return self.info.dense if final is None else self.info.dense.with_final(final.evaluation)

    @cached_property
    def front(self) -> Front:
        """The front: under final numbers where the search has come to its end, else under what is known so far.

        Final numbers are measured for the members of the search's own front only. Once each of these has them, a
        configuration without them takes no part, as its latency was measured beside other work.
        """
        return self._front_of(self._front_candidates())

    @cached_property
    def search_front(self) -> Front:
        """The front under the numbers that the search itself saw."""
        seen = [t.configuration for t in self.trials if t.configuration is not None]
        return Front.of(
            seen,
            objectives=self.objectives,
            dense=self.info.dense.metrics,
            constraints=self.constraints,
            measure=self.measure,
        )

    def pick(self, name: str | int, constraints: Iterable[str | Constraint] = ()) -> Configuration:
        """Return the member of the front called ``name`` (or of that trial) under further ``constraints``.

        Raises:
            InputError: the front has no such member, or none meets the constraints.
        """
        parsed = tuple(c if isinstance(c, Constraint) else Constraint.parse(c) for c in constraints)
        return (self.front.within(parsed) if parsed else self.front).pick(name)

    def policy_path(self, trial: int) -> Path:
        """Return where the policy of ``trial`` lies."""
        return self.path / policy_name(trial)

    def weights_path(self, trial: int) -> Path | None:
        """Return where the fine-tuned weights of ``trial`` lie, if they were kept."""
        path = self.path / weights_name(trial)
        return path if path.exists() else None

    @cached_property
    def rankings(self) -> Rankings:
        """The order in which each group's channels are kept, by criterion; without any where nothing was ranked."""
        return read_rankings(self.path) or Rankings({})

    @cached_property
    def baselines(self) -> tuple[Baseline, ...]:
        """The built-in baselines that were brought to their end beside the search; none of them is on its front."""
        return read_baselines(self.path)

    @cached_property
    def audit(self) -> Audit | None:
        """What measuring says of candidates that were turned down before training; ``None`` where none was measured."""
        return read_audit(self.path)

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        """What happened when, oldest first."""
        return EventLog(self.path / LOG).read()

    def front_document(self) -> dict[str, Any]:
        """Return the content of ``front.json``."""
        front, dense = self.front, self.dense
        return {
            "version": 1,
            "task": self.info.task_name,
            "device": self.info.device,
            "objectives": {o.name: o.direction for o in self.objectives},
            "metric": self.measure.to_dict(),
            "constraints": [str(c) for c in self.constraints],
            "fidelity": {"samples": self.info.samples},
            "dense": dict(dense.metrics),
            "dense_latency": {"source": dense.latency_source, "error": dense.latency_error},
            "reference_point": front.reference_point,
            "hypervolume": front.hypervolume,
            "configurations": [self._entry(c) for c in front.configurations],
        }

    @cached_property
    def slower_than(self) -> Mapping[int, int]:
        """By trial, the fastest other trial that keeps more and is faster, beyond the error of both latencies."""
        return slower_than(with_final_numbers(c, self.finished) for c in self.configurations)

    def _entry(self, configuration: Configuration) -> dict[str, Any]:
        other = self.slower_than.get(configuration.trial)
        return configuration.to_dict() | ({} if other is None else {"slower_than": other})

    def write_front(self) -> None:
        """Write ``front.json`` atomically."""
        write_json(self.path / FRONT, self.front_document())

    @cached_property
    def _study(self) -> optuna.Study:
        return journal.load_study(self.path, self.info)

    def _front_candidates(self) -> tuple[Configuration, ...]:
        if all(c.trial in self.finished for c in self.search_front.configurations):
            return tuple(c for c in self.configurations if c.trial in self.finished)
        return self.configurations

    def _front_of(self, configurations: Iterable[Configuration]) -> Front:
        return Front.of(
            tuple(configurations),
            objectives=self.objectives,
            dense=self.dense.metrics,
            constraints=self.constraints,
            measure=self.measure,
        )


def open_run(path: str | Path) -> Run:
    """Open the run in the folder ``path``.

    Raises:
        RunFolderError: there is no run, or its ``run.json`` is torn.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise RunFolderError(describe(f"no folder {folder}", expected="a run's folder", remedy="Check the path."))
    return Run(folder, RunInfo.read(folder))
