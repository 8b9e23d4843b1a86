"""What a search knows: the only writer of its study and of its policies, and the keeper of its weights."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from ..evaluators.configuration import Configuration
from ..evaluators.evaluation import Evaluation
from ..evaluators.objectives import SCORE, Constraint, Objective, values_of
from ..evaluators.request import Ancestor
from ..evaluators.task.measure import ACCURACY, Measure, measured
from ..jsonfile import write_json
from ..spaces.policy import Policy
from ..spaces.search_space import SearchSpace
from .checkpoints import Checkpoints
from .fidelity_ladder import FidelityLadder
from .run_folder.trial_record import (
    ABANDONED,
    BEGUN,
    DUPLICATE_OF,
    EVALUATION,
    REASON,
    RETRIES,
    RUNG,
    evaluation_of,
    policy_name,
    reason_of,
    state_of,
    weights_name,
)
from .running_front import RunningFront
from .training_log import TrainingLog, network_of

_UNKNOWN_VIOLATION = 1e9
"""Stands for the violation of a constraint on a metric that is unknown; storages take no infinity."""


@dataclass(frozen=True)
class Outcome:
    """How the evaluation of one policy ended."""

    trial: int
    metrics: Mapping[str, float | None] | None
    """``None`` where it failed."""
    reason: str | None
    """Why it failed."""


class Archive:
    """Writes trials and remembers how each policy came out.

    A trial is told to the study last, after its policy and weights lie in the folder: what the study calls complete is
    all there, whenever the process is killed.
    """

    def __init__(
        self,
        study: optuna.Study,
        folder: Path,
        *,
        objectives: tuple[Objective, ...],
        constraints: tuple[Constraint, ...],
        checkpoints: Checkpoints | None = None,
        path: Sequence[Policy] = (),
        ladder: FidelityLadder | None = None,
        measure: Measure = ACCURACY,
    ) -> None:
        objectives = measured(objectives, measure)
        self._measure = measure
        self._checkpoints = checkpoints
        self._path = {policy.key for policy in path}
        self._ancestors: dict[int, Configuration] = {}
        self._in_use: Counter[int] = Counter()
        self._study = study
        self._folder = folder
        self._objectives = objectives
        self._constraints = constraints
        self._outcomes: dict[Any, Outcome] = {}
        self.front = RunningFront(objectives, constraints, measure)
        self.trainings = TrainingLog()
        self.ladder = ladder or FidelityLadder()
        self.failed = 0
        self.rejected = 0

    def load(self, space: SearchSpace) -> None:
        """Take over what the study knows already, and delete weights that belong to no member of the front."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL)):
            state = state_of(trial)
            if state == "complete" and (evaluation := evaluation_of(trial)) is not None:
                self._remember(trial.number, space.policy(trial.params), evaluation, trial.user_attrs.get(RUNG))
            elif state == "failed" and len(trial.params) == len(space.parameters):
                self._remember_failure(trial.number, space.policy(trial.params), str(reason_of(trial)))
        self._discard_unkept()

    @property
    def inherits(self) -> bool:
        """Whether candidates start from the weights of earlier ones."""
        return self._checkpoints is not None

    @property
    def evaluated(self) -> int:
        """How many distinct policies were evaluated, failed ones included."""
        return len(self._outcomes)

    def is_on_path(self, policy: Policy) -> bool:
        """Return whether ``policy`` is of the path of shrinking networks."""
        return policy.key in self._path

    def outcome(self, policy: Policy) -> Outcome | None:
        """Return how ``policy`` came out, if it was evaluated."""
        return self._outcomes.get(policy.key)

    def begin(self, trial: Trial, policy: Policy) -> Path:
        """Store the policy of ``trial`` and return where its weights belong."""
        if RETRIES in trial.user_attrs:
            trial.set_user_attr(BEGUN, True)
        write_json(self._folder / policy_name(trial.number), policy.to_dict())
        return self._folder / weights_name(trial.number)

    def has_begun(self, trial: FrozenTrial) -> bool:
        """Return whether a killed search had handed ``trial`` out, or was still about to."""
        if RETRIES in trial.user_attrs:
            return BEGUN in trial.user_attrs
        return (self._folder / policy_name(trial.number)).exists()

    def record(self, trial: Trial, policy: Policy, evaluation: Evaluation | None, error: str | None) -> Outcome:
        """Tell the study how ``trial`` came out."""
        reason = error or self._defect(evaluation)
        if reason is not None or evaluation is None:
            return self._fail(trial, policy, reason or "no evaluation")
        values = self._constrain(trial, evaluation.metrics)
        trial.set_user_attr(EVALUATION, evaluation.to_dict())
        self._study.tell(trial, values)
        outcome, dropped = self._remember(trial.number, policy, evaluation, trial.user_attrs.get(RUNG))
        for number in dropped:
            self._discard(number)
        return outcome

    def end_ladder(self) -> None:
        """Say that no candidate climbs any more: weights that were kept for that go."""
        self.ladder.clear()
        self._discard_unkept()

    def acquire(self, policy: Policy, continues: Configuration | None = None) -> Ancestor | None:
        """Return whose weights a candidate starts from, and keep them until they are given back.

        Args:
            policy: the candidate's.
            continues: what is to be trained on, where it is an earlier network that is: from the most trained weights
                that the front has of it, at whatever precision.
        """
        if self._checkpoints is None:
            return None
        if continues is None:
            fitting = list({c.trial: c for c in (*self._ancestors.values(), *self.front.members)}.values())
        else:
            network = network_of(continues.policy)
            fitting = [continues, *(m for m in self.front.members if network_of(m.policy) == network)]
        ancestor = self._checkpoints.nearest(policy, fitting)
        if ancestor is None and continues is not None:
            return self.acquire(policy)  # it was not trained itself yet, or its weights were not kept
        if ancestor is not None:
            self._in_use[ancestor.trial] += 1
        return ancestor

    def release(self, ancestor: Ancestor | None) -> None:
        """Say that a candidate needs its ancestor's weights no more."""
        if ancestor is not None:
            self._in_use[ancestor.trial] -= 1
            self._discard(ancestor.trial)

    def _discard_unkept(self) -> None:
        for path in (self._folder / weights_name(0)).parent.iterdir():
            # Only what a search writes: a folder may be somebody's, or hold what a user put there.
            own = path.suffix == ".safetensors" and path.stem.isdigit()
            if path.suffix == ".tmp" or (own and not self._is_kept(int(path.stem))):
                path.unlink()

    def _discard(self, number: int) -> None:
        if not self._is_kept(number):
            (self._folder / weights_name(number)).unlink(missing_ok=True)

    def _is_kept(self, number: int) -> bool:
        wanted = number in self.front or number in self._ancestors or self._in_use[number] > 0
        return wanted or self.ladder.keeps(number)

    def reject(self, trial: Trial, reason: str) -> None:
        """Tell the study that ``trial`` was not worth an evaluation; samplers pass it over."""
        trial.set_user_attr(REASON, reason)
        self._study.tell(trial, state=TrialState.PRUNED)
        self.rejected += 1

    def drop(self, trial: Trial, reason: str) -> None:
        """Tell the study that ``trial`` is not tried; its policy may be tried by a later one."""
        trial.set_user_attr(REASON, reason)
        trial.set_user_attr(ABANDONED, True)
        self._study.tell(trial, state=TrialState.FAIL)

    def repeat(self, trial: Trial, outcome: Outcome) -> None:
        """Tell the study that ``trial`` came out as an equal policy did before; samplers learn from that too."""
        trial.set_user_attr(DUPLICATE_OF, outcome.trial)
        if outcome.metrics is None:
            trial.set_user_attr(REASON, f"the same policy as trial {outcome.trial}, which failed: {outcome.reason}")
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, self._constrain(trial, outcome.metrics))

    def adopt(self, trial: FrozenTrial) -> bool:
        """Tell the study of a trial whose evaluation a killed coordinator had stored already; whether there was one."""
        evaluation = evaluation_of(trial)
        if evaluation is None or not (self._folder / policy_name(trial.number)).exists():
            return False
        self._study.tell(trial.number, values_of(self._objectives, evaluation.metrics))
        return True

    def _constrain(self, trial: Trial, metrics: Mapping[str, float | None]) -> list[float]:
        for constraint in self._constraints:
            trial.set_constraint(str(constraint), min(constraint.violation(metrics), _UNKNOWN_VIOLATION))
        return values_of(self._objectives, metrics)

    def _defect(self, evaluation: Evaluation | None) -> str | None:
        for objective in self._objectives if evaluation else ():
            value = evaluation.metrics.get(objective.name) if evaluation else None
            if value is None or not math.isfinite(value):
                return f"{objective.name} is {value}"
        return None

    def _fail(self, trial: Trial, policy: Policy, reason: str) -> Outcome:
        trial.set_user_attr(REASON, reason)
        (self._folder / weights_name(trial.number)).unlink(missing_ok=True)
        self._study.tell(trial, state=TrialState.FAIL)
        self._remember_failure(trial.number, policy, reason)
        return Outcome(trial.number, None, reason)

    def _remember(
        self, number: int, policy: Policy, evaluation: Evaluation, rung: int | None
    ) -> tuple[Outcome, tuple[int, ...]]:
        outcome = self._better(self._outcomes.get(policy.key), Outcome(number, evaluation.metrics, None))
        self._outcomes[policy.key] = outcome
        self.trainings.add(policy, evaluation)
        configuration = Configuration(number, policy, evaluation)
        if policy.key in self._path:
            self._ancestors[number] = configuration
        if rung is not None:
            self.ladder.add(rung, configuration)
        return outcome, self.front.add(configuration)

    def _remember_failure(self, number: int, policy: Policy, reason: str) -> None:
        # What was trained on and failed keeps the outcome that it had.
        outcome = self._outcomes.setdefault(policy.key, Outcome(number, None, reason))
        self.failed += outcome.trial == number

    def _better(self, known: Outcome | None, found: Outcome) -> Outcome:
        """Return the better outcome of a policy that may have been trained on."""
        return min(found, known or found, key=lambda outcome: self._measure.key((outcome.metrics or {}).get(SCORE)))
