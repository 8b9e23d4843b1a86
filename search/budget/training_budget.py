"""How long each candidate is trained: so many samples, however few seconds a search has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ...spaces.policy import Policy
from .path_training import PathTraining
from .shares import PATH_SHARE, REFINEMENT_SHARE

LEAST_SAMPLES = 512
"""Less training is not worth a candidate's overhead."""


@dataclass
class TrainingBudget:
    """Shares the time out.

    Args:
        samples: what a candidate is trained on unless time decides.
        budget: seconds that a search may take, where time decides; ``None`` where it does not.
        rate: samples trained in a second; measured anew with every candidate.
        path: how the path's training is shared out.
    """

    samples: int
    budget: float | None = None
    rate: float | None = None
    path: PathTraining = field(default_factory=PathTraining)
    _began: float | None = field(default=None, init=False)
    """When candidates did; ``None`` where none can be trained on."""
    _path_ended: float | None = field(default=None, init=False)
    _overhead: float = field(default=0.0, init=False)
    """Seconds of a candidate that are no training."""

    def begin(self, elapsed: float) -> None:
        """Take in when candidates begin, in a search whose networks can be trained on."""
        self._began = elapsed

    def end_path(self, elapsed: float) -> None:
        """Take in that no network of the path is still to be trained; only the first time counts."""
        if self._path_ended is None:
            self._path_ended = elapsed

    def on_path(self, policy: Policy, later: Iterable[Policy], elapsed: float) -> int:
        """Return the samples of a network of the path, from which others are to come ``later``.

        Args:
            policy: the network's.
            later: what is to come.
            elapsed: seconds of the search so far.
        """
        if self.budget is None or self.rate is None:
            return self.samples
        began = self._began or 0.0
        end = began + PATH_SHARE * (self.budget - began)
        weight = self.path.weight(policy)
        to_come = sum(self.path.weight(other) for other in later)
        return self._within((end - elapsed) * weight / (weight + to_come or 1.0))

    def off_path(self, seconds_left: float | None) -> int:
        """Return the samples of any other candidate: as ever, or what the time still allows."""
        if self.budget is None or self.rate is None or seconds_left is None:
            return self.samples
        return min(self.samples, self._within(seconds_left))

    def refinement_begins(self) -> float | None:
        """Return when members of the front come before new candidates; ``None`` where the search refines nothing."""
        if self.budget is None or self._began is None:
            return None
        whole = self.budget - self._began
        latest = self.budget - REFINEMENT_SHARE * whole
        if self._path_ended is None or not self.path.levels:
            return latest
        # What a path that ended early leaves over is refinement's, as new candidates add less to a front.
        return min(latest, self._path_ended + (1 - PATH_SHARE - REFINEMENT_SHARE) * whole)

    @property
    def overhead(self) -> float:
        """Seconds of a candidate that are no training."""
        return self._overhead

    def for_training(self, seconds: float) -> float:
        """Return how much of a candidate's seconds is left for training."""
        return seconds - self._overhead

    def affords_another(self, seconds_left: float | None) -> bool:
        """Return whether the time is enough for a candidate that is trained for longer than all else about it takes."""
        if seconds_left is None or self.rate is None:
            return True
        training = self.for_training(seconds_left)
        return training >= self._overhead and self.rate * training >= LEAST_SAMPLES

    def learn(self, samples: int, seconds: float, steps: Mapping[str, float]) -> None:
        """Take in how long a candidate took.

        Args:
            samples: it was trained on.
            seconds: in all, by the budget's clock.
            steps: seconds by step, by any clock: ``train`` and others.
        """
        whole = sum(steps.values())
        if samples <= 0 or whole <= 0 or seconds <= 0:
            return
        training = seconds * steps.get("train", 0.0) / whole
        self._overhead = seconds - training
        if training > 0:
            self.rate = samples / training

    def _within(self, seconds: float) -> int:
        affordable = int((self.rate or 0.0) * self.for_training(seconds))
        return max(LEAST_SAMPLES, affordable)
