"""What to evaluate next: the sampler's answer, unless that is known already."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import Trial

from ..spaces.policy import Policy
from ..spaces.search_space import SearchSpace, Value
from .distributions import check_values, distributions, draw
from .ledger import Ledger
from .starting_points import starting_points
from .trial_record import DUPLICATE_OF, ORIGIN

MAX_DUPLICATES = 10
"""How often in a row a sampler may propose what is known before a policy is drawn at random instead."""
MAX_DRAWS = 1000
"""How many random draws in a row may be known before the space counts as exhausted."""


@dataclass(frozen=True)
class Proposal:
    """A trial whose policy nobody has evaluated yet."""

    trial: Trial
    policy: Policy


class Proposer:
    """Asks the study. A policy that was evaluated before is answered from memory; one in flight waits for its twin."""

    def __init__(self, study: optuna.Study, space: SearchSpace, ledger: Ledger, generator: random.Random) -> None:
        self._study = study
        self._space = space
        self._size = space.size
        self._distributions = distributions(space)
        self._ledger = ledger
        self._generator = generator
        self._twins: dict[int, list[Trial]] = {}

    def enqueue_starting_points(self) -> None:
        """Queue the starting points that the study has not seen."""
        for point in starting_points(self._space):
            values = check_values(self._space.values(point.policy), self._space)
            self._study.enqueue_trial(values, user_attrs={ORIGIN: point.origin}, skip_if_exists=True)

    def next(self, in_flight: Collection[Proposal]) -> Proposal | None:
        """Return a policy to evaluate that is neither known nor ``in_flight``; ``None`` where there is none left."""
        running = {p.policy.key: p.trial.number for p in in_flight}
        for attempt in range(MAX_DUPLICATES + 1):
            if self._ledger.evaluated + len(running) >= self._size:
                return None
            if attempt == MAX_DUPLICATES and not self._enqueue_unseen(running):
                return None
            trial = self._study.ask(self._distributions)
            policy = self._space.policy(trial.params)
            if not self._is_duplicate(trial, policy, running):
                return Proposal(trial, policy)
        return None

    def settle_twins(self, proposal: Proposal) -> None:
        """Answer the trials that waited for this one."""
        outcome = self._ledger.outcome(proposal.policy)
        for twin in self._twins.pop(proposal.trial.number, []):
            if outcome is not None:
                self._ledger.repeat(twin, outcome)

    @property
    def twins(self) -> tuple[Trial, ...]:
        """The trials that wait for an equal one in flight."""
        return tuple(trial for waiting in self._twins.values() for trial in waiting)

    def _is_duplicate(self, trial: Trial, policy: Policy, running: dict[Any, int]) -> bool:
        outcome = self._ledger.outcome(policy)
        if outcome is not None:
            self._ledger.repeat(trial, outcome)
            return True
        if (original := running.get(policy.key)) is not None:
            trial.set_user_attr(DUPLICATE_OF, original)
            self._twins.setdefault(original, []).append(trial)
            return True
        return False

    def _enqueue_unseen(self, running: dict[Any, int]) -> bool:
        values = self._unseen(running)
        if values is not None:
            self._study.enqueue_trial(values, user_attrs={ORIGIN: "random"})
        return values is not None

    def _unseen(self, running: dict[Any, int]) -> dict[str, Value] | None:
        for _ in range(MAX_DRAWS):
            values = draw(self._space, self._generator)
            policy = self._space.policy(values)
            if policy.key not in running and self._ledger.outcome(policy) is None:
                return values
        return None
