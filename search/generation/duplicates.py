"""Trials whose policy is known: answered from memory, or made to wait for an equal one that is being evaluated."""

from __future__ import annotations

from optuna.trial import Trial

from ...spaces.policy import Policy
from ..archive import Archive
from ..run_folder.trial_record import DUPLICATE_OF
from .base import Candidate, Running, policies_under_way


class Duplicates:
    """Settles duplicates, so that samplers learn from them too."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._waiting: dict[int, list[Trial]] = {}

    def take(self, trial: Trial, policy: Policy, running: Running) -> bool:
        """Return whether ``trial`` is one, after answering it or letting it wait."""
        outcome = self._archive.outcome(policy)
        if outcome is not None:
            self._archive.repeat(trial, outcome)
            return True
        if (original := policies_under_way(running).get(policy.key)) is not None:
            trial.set_user_attr(DUPLICATE_OF, original)
            self._waiting.setdefault(original, []).append(trial)
            return True
        return False

    def settle(self, candidate: Candidate) -> None:
        """Answer the trials that waited for this one."""
        outcome = self._archive.outcome(candidate.policy)
        for trial in self._waiting.pop(candidate.trial.number, []):
            if outcome is not None:
                self._archive.repeat(trial, outcome)

    @property
    def waiting(self) -> tuple[Trial, ...]:
        """The trials that wait for an equal one."""
        return tuple(trial for waiting in self._waiting.values() for trial in waiting)
