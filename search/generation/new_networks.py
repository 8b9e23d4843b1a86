"""Networks that nobody has tried: each source is asked in turn, then the sampler; what is known or too costly is not
evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from optuna.trial import Trial

from ...spaces.policy import Policy
from ...spaces.search_space import SearchSpace
from ..archive import Archive, Outcome
from ..run_folder.trial_record import RUNG
from .base import Candidate, Running, Source
from .cost_filter import LazyCostFilter
from .duplicates import Duplicates
from .random_draws import RandomSource
from .trial_queue import TrialQueue, origin_of

MAX_DUPLICATES = 10
"""How often in a row a sampler may propose what is known before a policy is drawn at random instead."""
MAX_REJECTIONS = 20
"""How many candidates in a row may be turned down for their predicted cost before one is evaluated all the same: it
tells the sampler, which learns nothing from those turned down, where not to look."""


@dataclass(frozen=True)
class NewNetworks:
    """The step that brings new networks.

    Args:
        space: what may be tried.
        archive: knows what was.
        queue: makes trials; what a killed search left in it comes first.
        sources: asked in order, while the queue is empty; where none has anything, the sampler proposes.
        draws: what is tried where the sampler proposes nothing new.
        duplicates: answers what is known.
        cost_filter: turns down what cannot pay.
    """

    space: SearchSpace
    archive: Archive
    queue: TrialQueue
    sources: Sequence[Source]
    draws: RandomSource
    duplicates: Duplicates
    cost_filter: LazyCostFilter

    @cached_property
    def _size(self) -> int:
        return self.space.size

    def propose(self, running: Running) -> Candidate | None:
        """Return a policy to evaluate that is neither known nor ``running``; ``None`` where there is none left."""
        duplicates = rejections = 0
        while duplicates <= MAX_DUPLICATES:
            if self.archive.evaluated + len(running) >= self._size:
                return None
            if duplicates == MAX_DUPLICATES and not self._draws(running):
                return None
            trial = self._ask(running)
            policy = self.space.policy(trial.params)
            if self.duplicates.take(trial, policy, running):
                duplicates += 1
            elif rejections < MAX_REJECTIONS and self.cost_filter.turns_down(trial, policy):
                rejections += 1
            else:
                return self._candidate(trial, policy)
        return None

    def observe(self, candidate: Candidate, outcome: Outcome) -> None:
        """Take in how a candidate came out: trials of the same policy that waited for it are answered."""

    def _candidate(self, trial: Trial, policy: Policy) -> Candidate:
        origin = origin_of(trial)
        if self.archive.ladder.is_used and not origin.comes_first:
            trial.set_user_attr(RUNG, 0)
        return Candidate(trial, policy, origin, self, rung=trial.user_attrs.get(RUNG))

    def _ask(self, running: Running) -> Trial:
        if not self.queue.waiting:
            found = (source.suggest(running) for source in self.sources)
            if (suggestion := next((each for each in found if each is not None), None)) is not None:
                self.queue.put(suggestion)
        return self.queue.ask()

    def _draws(self, running: Running) -> bool:
        suggestion = self.draws.suggest(running)
        if suggestion is not None:
            self.queue.put(suggestion)
        return suggestion is not None
