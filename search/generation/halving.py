"""Asynchronous successive halving: the best of comparable cost are trained further, up the ladder of fidelities."""

from __future__ import annotations

from collections.abc import Callable, Container

from ...spaces.search_space import SearchSpace
from ..archive import Outcome
from ..fidelity_ladder import FidelityLadder
from ..run_folder.origin import Origin, OriginKind
from ..run_folder.trial_record import RUNG
from .base import Candidate, Running, Suggestion
from .trial_queue import TrialQueue


class Halving:
    """Takes an earlier candidate up to the next rung.

    Args:
        ladder: knows who stands where.
        space: what is searched.
        queue: makes trials.
        worthy: tells the trials that climb whatever their rank.
    """

    def __init__(
        self,
        ladder: FidelityLadder,
        space: SearchSpace,
        queue: TrialQueue,
        worthy: Callable[[], Container[int]] = frozenset,
    ) -> None:
        self._ladder = ladder
        self._space = space
        self._queue = queue
        self._worthy = worthy

    def propose(self, running: Running) -> Candidate | None:
        """Return who climbs now; ``None`` where nobody may."""
        promotion = self._ladder.next(self._worthy())
        if promotion is None:
            return None
        self._ladder.climb(promotion)
        member, rung = promotion.member, promotion.rung
        origin = Origin(OriginKind.RUNG, detail=str(rung), trial=member.trial)
        trial = self._queue.again(Suggestion(self._space.values(member.policy), origin, {RUNG: rung}))
        return Candidate(trial, member.policy, origin, self, rung=rung, trains_on=member)

    def observe(self, candidate: Candidate, outcome: Outcome) -> None:
        """Nothing: the ladder hears of every candidate's rung, whoever proposed it."""
