"""What to evaluate next: the sampler's answer, unless that is known already."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from ..spaces.policy import Policy
from ..spaces.search_space import SearchSpace, Value
from .coarse_proposals import CoarseProposals
from .distributions import check_values, distributions, draw
from .fidelity_ladder import Promotion
from .last_step import MoreTraining
from .ledger import Ledger
from .run_folder.origin import Origin, OriginKind
from .run_folder.trial_record import DUPLICATE_OF, ORIGIN, PREDICTED, RETRY_OF, RUNG
from .screen import CostScreen
from .starting_points import StartingPoint

MAX_DUPLICATES = 10
"""How often in a row a sampler may propose what is known before a policy is drawn at random instead."""
MAX_REJECTIONS = 20
"""How many candidates in a row may be turned down for their predicted cost before one is evaluated all the same: it
tells the sampler, which learns nothing from those turned down, where not to look."""
MAX_DRAWS = 1000
"""How many random draws in a row may be known before the space counts as exhausted."""

_WAITING = (TrialState.WAITING,)


@dataclass(frozen=True)
class Proposal:
    """A trial whose policy nobody has evaluated yet."""

    trial: Trial
    policy: Policy
    continues: MoreTraining | None = None
    """What is trained on in the last step, where the policy was evaluated before."""
    promotion: Promotion | None = None
    """To which rung it climbs, where the policy was evaluated before."""

    @property
    def is_new(self) -> bool:
        """Whether nobody has evaluated the policy yet."""
        return self.continues is None and self.promotion is None

    @property
    def rung(self) -> int | None:
        """The rung that it is evaluated at; ``None`` off the ladder."""
        return self.trial.user_attrs.get(RUNG)


class Proposer:
    """Asks the study. A policy that was evaluated before is answered from memory; one in flight waits for its twin."""

    def __init__(
        self,
        study: optuna.Study,
        space: SearchSpace,
        ledger: Ledger,
        generator: random.Random,
        *,
        points: Sequence[StartingPoint] = (),
        coarse: CoarseProposals | None = None,
        screen: Callable[[], CostScreen | None] = lambda: None,
        path: Sequence[Policy] = (),
        hopeless: Callable[[Policy], bool] = lambda _: False,
    ) -> None:
        """Make it.

        Args:
            study: the run's.
            space: what may be tried.
            ledger: knows what was.
            generator: draws policies where the sampler proposes nothing new.
            points: to be tried first.
            coarse: what comes before the sampler.
            screen: makes what tells costs before training, when the first candidate off the path needs it.
            path: of shrinking networks, among the starting points.
            hopeless: whether a network of the path is not worth training.
        """
        self._hopeless = hopeless
        self._path = {policy.key for policy in path}
        self._screen = screen
        self._study = study
        self._space = space
        self._size = space.size
        self._distributions = distributions(space)
        self._ledger = ledger
        self._generator = generator
        self._twins: dict[int, list[Trial]] = {}
        queued = [t.system_attrs.get("fixed_params") for t in study.get_trials(deepcopy=False, states=_WAITING)]
        self._queued = len(queued)
        self._coarse = coarse
        self._starting_points = deque(p for p in points if self._is_new(p, queued))

    def next(self, in_flight: Collection[Proposal]) -> Proposal | None:
        """Return a policy to evaluate that is neither known nor ``in_flight``; ``None`` where there is none left."""
        running = {p.policy.key: p.trial.number for p in in_flight}
        duplicates = rejections = 0
        while duplicates <= MAX_DUPLICATES:
            if self._ledger.evaluated + len(running) >= self._size:
                return None
            if duplicates == MAX_DUPLICATES and not self._enqueue_unseen(running):
                return None
            trial = self._ask(running)
            policy = self._space.policy(trial.params)
            if self._is_duplicate(trial, policy, running):
                duplicates += 1
            elif rejections < MAX_REJECTIONS and self._is_rejected(trial, policy):
                rejections += 1
            else:
                if self._ledger.ladder.is_used and not _origin(trial).comes_first:
                    trial.set_user_attr(RUNG, 0)
                return Proposal(trial, policy)
        return None

    def comes_first(self, in_flight: Collection[Proposal]) -> bool:
        """Return whether what is proposed next goes before candidates that could climb."""
        point = self._next_point({p.policy.key for p in in_flight})
        return self.has_queued or (point is not None and point.origin.comes_first)

    def climb(self, promotion: Promotion) -> Proposal:
        """Return a trial that takes an earlier candidate up to a rung."""
        self._ledger.ladder.climb(promotion)
        origin = Origin(OriginKind.RUNG, detail=str(promotion.rung), trial=promotion.member.trial)
        trial = self._again(promotion.member.policy, origin, {RUNG: promotion.rung})
        return Proposal(trial, promotion.member.policy, promotion=promotion)

    def further(self, training: MoreTraining) -> Proposal:
        """Return a trial that trains on what an earlier one has trained."""
        trial = self._again(training.policy, Origin(OriginKind.LAST_STEP, trial=training.member.trial), {})
        return Proposal(trial, training.policy, training)

    def _again(self, policy: Policy, origin: Origin, attributes: Mapping[str, Any]) -> Trial:
        values = check_values(self._space.values(policy), self._space)
        self._study.enqueue_trial(values, user_attrs={ORIGIN: origin.to_dict(), **attributes})
        # The study hands out what was queued first: what a killed search left may still be there.
        while not self._is_that(trial := self._study.ask(self._distributions), policy, origin):
            self._settle(trial)
        return trial

    def _is_that(self, trial: Trial, policy: Policy, origin: Origin) -> bool:
        alike = RETRY_OF not in trial.user_attrs and _origin(trial) == origin
        return alike and self._space.policy(trial.params).key == policy.key

    def _settle(self, trial: Trial) -> None:
        """End a trial that an earlier search left, once all the networks asked for are evaluated."""
        self._queued = max(0, self._queued - 1)
        outcome = self._ledger.outcome(self._space.policy(trial.params))
        if outcome is not None:
            self._ledger.repeat(trial, outcome)
        else:
            self._ledger.drop(trial, "all networks asked for are evaluated")

    @property
    def has_queued(self) -> bool:
        """Whether trials of a killed search are still to be tried again."""
        return self._queued > 0

    def path_to_come(self, in_flight: Collection[Proposal]) -> tuple[Policy, ...]:
        """Return the networks of the path that are still to be trained, those ``in_flight`` left out."""
        running = {p.policy.key for p in in_flight}
        waiting = (p.policy for p in self._starting_points)
        coming = (policy for policy in waiting if policy.key in self._path and policy.key not in running)
        return tuple(policy for policy in coming if not self._hopeless(policy))

    def is_on_path(self, policy: Policy) -> bool:
        """Return whether ``policy`` is of the path of shrinking networks."""
        return policy.key in self._path

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

    def _ask(self, running: Collection[Any]) -> Trial:
        # Queued one by one: a trial that a killed search left is tried again before any starting point is.
        point = None if self._queued else self._starting_point(running)
        if point is not None:
            self._enqueue(self._space.values(point.policy), point.origin)
        elif not self._queued and self._coarse is not None and (found := self._coarse.next()) is not None:
            self._enqueue(found.values, Origin(OriginKind.COARSE, found.resolution), found.attributes)
        self._queued = max(0, self._queued - 1)
        return self._study.ask(self._distributions)

    def _starting_point(self, running: Collection[Any]) -> StartingPoint | None:
        """Return the next one; each network of the path waits for the one before, whose weights it takes over."""
        if not any(key in self._path for key in running):
            self._starting_points = deque(p for p in self._starting_points if not self._hopeless(p.policy))
        found = self._next_point(running)
        if found is not None:
            self._starting_points.remove(found)
        return found

    def _next_point(self, running: Collection[Any]) -> StartingPoint | None:
        under_way = any(key in self._path for key in running)
        return next((p for p in self._starting_points if not (under_way and p.policy.key in self._path)), None)

    def _enqueue(
        self, values: Mapping[str, Value], origin: Origin, attributes: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self._study.enqueue_trial(
            check_values(values, self._space), user_attrs={ORIGIN: origin.to_dict(), **attributes}
        )
        self._queued += 1

    def _is_new(self, point: StartingPoint, queued: list[Any]) -> bool:
        return self._ledger.outcome(point.policy) is None and self._space.values(point.policy) not in queued

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

    def _is_rejected(self, trial: Trial, policy: Policy) -> bool:
        if (always := _origin(trial).comes_first) and self._path:
            return False
        if (screen := self._screen()) is None:
            return False
        cost = screen.predict(policy)
        trial.set_user_attr(PREDICTED, [cost.latency_ms, cost.latency_low, cost.latency_high])
        objection = None if always else screen.objection(policy)
        if objection is not None:
            self._ledger.reject(trial, objection)
        return objection is not None

    def _enqueue_unseen(self, running: dict[Any, int]) -> bool:
        values = self._unseen(running)
        if values is not None:
            self._enqueue(values, Origin(OriginKind.RANDOM))
        return values is not None

    def _unseen(self, running: dict[Any, int]) -> dict[str, Value] | None:
        for _ in range(MAX_DRAWS):
            values = draw(self._space, self._generator)
            policy = self._space.policy(values)
            if policy.key not in running and self._ledger.outcome(policy) is None:
                return values
        return None


def _origin(trial: Trial) -> Origin:
    return Origin.from_stored(trial.user_attrs.get(ORIGIN))
