from __future__ import annotations

import dataclasses

import optuna
import pytest

from espalier.evaluators.evaluation import Evaluation
from espalier.evaluators.objectives import objectives
from espalier.search.archive import Archive
from espalier.search.distributions import check_values, distributions
from espalier.search.fidelity_ladder import FidelityLadder
from espalier.search.generation import Candidate
from espalier.search.generation.trial_queue import TrialQueue
from espalier.search.options import SearchOptions
from espalier.search.run_folder.origin import Origin, OriginKind
from espalier.search.run_folder.trial_record import RUNG
from espalier.search.run_search import search_problem
from espalier.spaces.policy import Policy
from espalier.spaces.search_space import SearchSpace
from espalier.testing.analytic import analytic_graph, analytic_problem

OBJECTIVES = objectives("accuracy,latency")


@dataclasses.dataclass
class KnownArchive:
    """A study in memory, with what was evaluated written by hand."""

    space: SearchSpace
    study: optuna.Study
    archive: Archive

    @property
    def queue(self) -> TrialQueue:
        return TrialQueue(self.study, self.space, self.archive)

    def policy(self, *kept: int, precision: str = "fp32") -> Policy:
        names = [group.name for group in self.space.graph]
        policy = Policy.from_kept(self.space.graph, dict(zip(names, kept, strict=True)), criterion="l2")
        return self.space.policy(self.space.values(dataclasses.replace(policy, precision=precision)))

    def ask(self, policy: Policy) -> optuna.trial.Trial:
        self.study.enqueue_trial(check_values(self.space.values(policy), self.space))
        return self.study.ask(distributions(self.space))

    def add(
        self, policy: Policy, accuracy: float, latency: float, *, samples: int = 100, rung: int | None = None
    ) -> int:
        """Write that a policy was evaluated, and return its trial."""
        trial = self.ask(policy)
        if rung is not None:
            trial.set_user_attr(RUNG, rung)
        metrics = {"accuracy": accuracy, "latency_ms": latency}
        found = Evaluation(metrics, "measured", 0.05, samples, {"train": samples / 100} if samples else {})
        self.archive.begin(trial, policy)
        self.archive.record(trial, policy, found, None)
        return trial.number

    def running(self, policy: Policy, step: object = None) -> dict[int, Candidate]:
        """Return what runs where one policy does."""
        trial = self.ask(policy)
        return {trial.number: Candidate(trial, policy, Origin(OriginKind.SAMPLER), step)}


@pytest.fixture
def archive(tmp_path):
    def make(*channels: int, rungs=(), path=(), precisions=("fp32",)) -> KnownArchive:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        for name in ("policies", "weights"):
            (tmp_path / name).mkdir(exist_ok=True)
        space = SearchSpace(analytic_graph(*channels), precisions=precisions)
        study = optuna.create_study(
            directions=[objective.direction for objective in OBJECTIVES], sampler=optuna.samplers.RandomSampler(seed=0)
        )
        ladder = FidelityLadder(rungs, OBJECTIVES, ()) if rungs else None
        archive = Archive(study, tmp_path, objectives=OBJECTIVES, constraints=(), path=path, ladder=ladder)
        return KnownArchive(space, study, archive)

    return make


@pytest.fixture
def search(tmp_path):
    """Search formulas: ``search(trials=..., channels=(...), problem={...}, resume=...)`` returns the run."""

    def run(*, channels=(8, 16, 16), folder="run", resume=False, progress=None, problem=None, **options):
        made = analytic_problem(*channels, **(problem or {}))
        checked = SearchOptions(**{"task": "analytic", "trials": 20, **options})
        return search_problem(made, checked, tmp_path / folder, resume=resume, progress=progress)

    return run
