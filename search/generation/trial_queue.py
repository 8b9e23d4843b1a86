"""The queue of the study: what is to be tried is put in, and comes out as a trial."""

from __future__ import annotations

from dataclasses import dataclass, field

import optuna
from optuna.trial import Trial, TrialState

from ...spaces.policy import Policy
from ...spaces.search_space import SearchSpace
from ..archive import Archive
from ..distributions import check_values, distributions
from ..run_folder.origin import Origin
from ..run_folder.trial_record import ORIGIN, RETRY_OF
from .base import Suggestion


@dataclass
class TrialQueue:
    """Asks the study, which hands out what was queued first, and asks its sampler where nothing is.

    Args:
        study: of the run.
        space: what may be tried.
        archive: knows what was.
    """

    study: optuna.Study
    space: SearchSpace
    archive: Archive
    waiting: int = field(init=False)
    """How many trials are queued: those that a killed or interrupted search left, before anything else."""

    def __post_init__(self) -> None:
        self._distributions = distributions(self.space)
        self.waiting = len(self.queued_values())

    def queued_values(self) -> list[object]:
        """Return the values of the trials that are queued."""
        found = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        return [trial.system_attrs.get("fixed_params") for trial in found]

    def put(self, suggestion: Suggestion) -> None:
        """Queue what a source suggests."""
        stored = {ORIGIN: suggestion.origin.to_dict(), **suggestion.attributes}
        self.study.enqueue_trial(check_values(suggestion.values, self.space), user_attrs=stored)
        self.waiting += 1

    def ask(self) -> Trial:
        """Return the next trial: the one queued first, else one of the sampler's."""
        self.waiting = max(0, self.waiting - 1)
        return self.study.ask(self._distributions)

    def again(self, suggestion: Suggestion) -> Trial:
        """Return a trial of a policy that was evaluated before, whatever else is queued.

        What a killed search left in the queue is settled on the way: it is known by now, or not tried any more.
        """
        policy = self.space.policy(suggestion.values)
        self.put(suggestion)
        while not self._is_that(trial := self.ask(), policy, suggestion.origin):
            self._settle(trial)
        return trial

    def _is_that(self, trial: Trial, policy: Policy, origin: Origin) -> bool:
        alike = RETRY_OF not in trial.user_attrs and origin_of(trial) == origin
        return alike and self.space.policy(trial.params).key == policy.key

    def _settle(self, trial: Trial) -> None:
        outcome = self.archive.outcome(self.space.policy(trial.params))
        if outcome is not None:
            self.archive.repeat(trial, outcome)
        else:
            self.archive.drop(trial, "all networks asked for are evaluated")


def origin_of(trial: Trial) -> Origin:
    """Return where a trial comes from."""
    return Origin.from_stored(trial.user_attrs.get(ORIGIN))
