"""Refinement, the last step of a search with a budget: members of the front are trained on."""

from __future__ import annotations

from collections.abc import Callable

from ...spaces.search_space import SearchSpace
from ..archive import Outcome
from ..refinement_plan import MoreTraining, RefinementPlan
from ..run_folder.origin import Origin, OriginKind
from .base import Candidate, Running, Suggestion
from .trial_queue import TrialQueue


class Refinement:
    """Trains members of the front on, in order of what that adds to it.

    Args:
        refinement_plan: says when, and which.
        space: what is searched.
        queue: makes trials.
        elapsed: tells the seconds of the search so far.
    """

    def __init__(
        self, refinement_plan: RefinementPlan, space: SearchSpace, queue: TrialQueue, elapsed: Callable[[], float]
    ) -> None:
        self._plan = refinement_plan
        self._space = space
        self._queue = queue
        self._elapsed = elapsed

    @property
    def is_due(self) -> bool:
        """Whether members of the front come before new candidates."""
        return self._plan.is_due(self._elapsed())

    @property
    def has_begun(self) -> bool:
        """Whether a member was trained on."""
        return self._plan.has_begun

    def propose(self, running: Running) -> Candidate | None:
        """Return what is to be trained on now; ``None`` where time is up, or nothing is worth it."""
        continued = [c.trains_on.trial for c in running.values() if c.step is self and c.trains_on is not None]
        found = self._plan.next(continued, self._elapsed())
        if found is None:
            return None
        origin = Origin(OriginKind.REFINEMENT, trial=found.member.trial)
        trial = self._queue.again(Suggestion(self._space.values(found.policy), origin))
        return Candidate(trial, found.policy, origin, self, trains_on=found.member, samples=found.samples)

    def observe(self, candidate: Candidate, outcome: Outcome) -> None:
        """Take in how it came out: what failed is not trained on again, twins at other precisions follow the rest."""
        if candidate.trains_on is None or candidate.samples is None:
            return
        training = MoreTraining(candidate.trains_on, candidate.policy, candidate.samples)
        if outcome.metrics is None:
            self._plan.give_up(training)
        else:
            self._plan.take_in(candidate.trial.number, training)
