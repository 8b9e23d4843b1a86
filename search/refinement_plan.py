"""Refinement of a search with a budget: members of the front are trained on, in order of what that adds to it.

A member's score counts for as much hypervolume as lies between its cost and that of the next larger member. Training
gains less the more there was of it, so the time left goes where the least was spent for what it counts: every member's
own training is filled up to the same level in seconds for its worth, as far as the time reaches.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..evaluators.configuration import Configuration
from ..evaluators.front import Front
from ..evaluators.objectives import SCORE
from ..evaluators.task.measure import ACCURACY, Measure, measured
from ..spaces.policy import Policy
from .archive import Archive
from .budget.shares import REFINEMENT_SHARE
from .budget.training_budget import LEAST_SAMPLES, TrainingBudget
from .options import SearchOptions
from .training_log import Training, network_of

_NUDGE = 0.01
"""Share of the dense score by which a member's is raised, to see what that adds."""
_LEAST_DEFICIT = 0.02
"""A network no worse than the dense one may gain from training all the same."""
LEAST_PART = 0.25
"""Of what a network was trained so far. While the learning rate rises it loses more than a shorter training mends: of
29 that were shorter 6 raised the validation score, of 85 longer ones 74 (searches of three networks)."""


@dataclass(frozen=True)
class MoreTraining:
    """A member of the front that is to be trained on."""

    member: Configuration
    policy: Policy
    """The member's own, or that of its twin at another precision, which takes over what it learnt."""
    samples: int
    """None for a twin."""


@dataclass(frozen=True)
class _Worth:
    """What a better score of a member adds to the front."""

    member: Configuration
    gain: float


@dataclass(frozen=True)
class _Share:
    """What a member gets of the time left."""

    member: Configuration
    seconds: float
    least: float
    """Seconds: training it for less is worth nothing."""
    rate: float


@dataclass
class RefinementPlan:
    """Says when members of the front come before new candidates, and which is trained on.

    Args:
        archive: knows the front, and what was spent on training.
        training_budget: shares the time out.
        options: of the search.
        dense: metrics of the dense network.
        measure: what the score is.
    """

    archive: Archive
    training_budget: TrainingBudget
    options: SearchOptions
    dense: Mapping[str, float | None]
    measure: Measure = ACCURACY
    has_begun: bool = field(default=False, init=False)
    """Whether a member was trained on: new candidates are tried after that by workers that would stand idle alone."""
    _end: float | None = field(default=None, init=False)
    _given_up: set[int] = field(default_factory=set, init=False)
    _twins: deque[tuple[int, str]] = field(default_factory=deque, init=False)
    """Trials of refinement whose network is to be evaluated at another precision too."""

    def take_in(self, trial: int, training: MoreTraining) -> None:
        """Take in that a member was trained on, as ``trial``: its twins at other precisions are to follow."""
        if training.samples:
            self._twins.extend((trial, p) for p in self.options.precision if p != training.policy.precision)

    def give_up(self, training: MoreTraining) -> None:
        """Train a member on no more: it failed once, and would again."""
        if training.samples:
            self._given_up.add(training.member.trial)

    def is_due(self, elapsed: float) -> bool:
        """Return whether so late, in seconds of the search, members of the front come before new candidates."""
        begins = self.training_budget.refinement_begins()
        return begins is not None and elapsed >= begins

    def next(self, continued: Collection[int], elapsed: float) -> MoreTraining | None:
        """Return what is to be trained on now; ``None`` where time is up, or nothing is worth it.

        Args:
            continued: trials that are being trained on already.
            elapsed: seconds of the search so far.
        """
        if self.training_budget.budget is None or self.training_budget.refinement_begins() is None:
            return None
        if (twin := self._twin()) is not None:
            return twin
        left = self.training_budget.for_training(self._until(self.training_budget.budget, elapsed) - elapsed)
        shares = [s for s in self._shared(continued, left) if s.seconds > 0]
        if not shares:
            return None
        chosen = max(shares, key=lambda share: share.seconds)
        seconds = max(chosen.seconds, chosen.least)
        after = left - seconds - self.training_budget.overhead
        if all(after < share.least for share in shares if share is not chosen):
            seconds = left  # nobody else could use the rest
        self.has_begun = True
        samples = int(chosen.rate * min(left, seconds))
        return MoreTraining(chosen.member, chosen.member.policy, samples) if samples >= LEAST_SAMPLES else None

    def _twin(self) -> MoreTraining | None:
        while self._twins:
            trial, precision = self._twins.popleft()
            for member in self.archive.front.members:
                if member.trial == trial:
                    return MoreTraining(member, replace(member.policy, precision=precision), 0)
        return None

    def _shared(self, continued: Collection[int], left: float) -> Iterator[_Share]:
        """Yield each network of the front with what it gets, as that member whose better score is worth most."""
        members = self.archive.front.members
        networks: dict[Policy, list[_Worth]] = {}
        for member in members:
            worth = _Worth(member, self._worth(member, members))
            networks.setdefault(network_of(member.policy), []).append(worth)
        barred = self._given_up.union(continued)
        free = {n: each for n, each in networks.items() if barred.isdisjoint(w.member.trial for w in each)}
        trained = [(each, t) for network, each in free.items() if (t := self._training(network, each)) is not None]
        known = [(each, t) for each, t in trained if self._least(t) <= left]
        totals = [sum(worth.gain for worth in each) for each, _ in known]
        shares = filled([training.seconds for _, training in known], totals, self.options.workers * left)
        for (each, training), seconds in zip(known, shares, strict=True):
            member = max(each, key=lambda worth: worth.gain).member
            yield _Share(member, seconds, self._least(training), training.rate)

    def _least(self, training: Training) -> float:
        return max(LEAST_PART * training.seconds, self.training_budget.overhead)

    def _training(self, network: Policy, each: Sequence[_Worth]) -> Training | None:
        """Return what training of its own a network had; ``None`` for one that nothing was ever trained of."""
        had = self.archive.trainings.of(network)
        if had is None and self.training_budget.rate and any(worth.member.inherited_samples for worth in each):
            return Training(0.0, self.training_budget.rate, 0)
        return had

    def _until(self, budget: float, elapsed: float) -> float:
        """Return when it ends: with the budget; sooner where the trials were used up sooner."""
        if self._end is None:
            self._end = budget if self.is_due(elapsed) else min(budget, elapsed / (1 - REFINEMENT_SHARE))
        return self._end

    def _worth(self, member: Configuration, members: tuple[Configuration, ...]) -> float:
        """Return what a better score of ``member`` adds to the front, and how much better it may become."""
        score, best = member.metrics.get(SCORE), self.dense.get(SCORE)
        if score is None or not best:
            return 0.0
        raised_score = self.measure.improved(score, _NUDGE * abs(best))
        better = member.with_metrics({SCORE: raised_score})
        raised = self._hypervolume(tuple(better if m is member else m for m in members))
        deficit = max(_LEAST_DEFICIT, self.measure.loss(score, best) / abs(best))
        return max(0.0, raised - self._hypervolume(members)) * math.sqrt(deficit)

    def _hypervolume(self, members: tuple[Configuration, ...]) -> float:
        objectives = measured(self.options.parsed_objectives, self.measure)
        return Front(objectives, (), members, self.dense, self.measure).hypervolume


def filled(spent: Sequence[float], worths: Sequence[float], seconds: float) -> list[float]:
    """Return how ``seconds`` are shared so that what was spent and is comes to the same multiple of each worth."""
    order = sorted((i for i, worth in enumerate(worths) if worth > 0), key=lambda i: spent[i] / worths[i])
    shares = [0.0] * len(spent)
    for count in range(len(order), 0, -1):
        among = order[:count]
        level = (seconds + sum(spent[i] for i in among)) / sum(worths[i] for i in among)
        if level >= spent[among[-1]] / worths[among[-1]]:
            for i in among:
                shares[i] = level * worths[i] - spent[i]
            break
    return shares
