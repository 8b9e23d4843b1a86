"""How long each candidate is trained: so many samples, however few seconds a search has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..spaces.policy import Policy

PATH_SHARE = 0.9
"""Of the time left as the path of shrinking networks begins: what is trained there every later candidate inherits."""
LEAST_SAMPLES = 512
"""Less training is not worth a candidate's overhead."""


@dataclass
class Effort:
    """Shares the time out.

    Args:
        samples: what a candidate is trained on unless time decides.
        timed: whether time decides: a budget is given, and no number of samples.
        rate: samples trained in a second; measured anew with every candidate.
        shares: of the path's training, by policy.
    """

    samples: int
    timed: bool
    rate: float | None = None
    shares: Mapping[Policy, float] = field(default_factory=dict)
    _overhead: float = field(default=0.0, init=False)
    """Seconds of a candidate that are no training."""

    def on_path(self, policy: Policy, later: Iterable[Policy], seconds_left: float | None) -> int:
        """Return the samples of a network of the path, from which others are to come ``later``."""
        if not self.timed or self.rate is None or seconds_left is None:
            return self.samples
        share = self.shares[policy]
        to_come = sum(self.shares[other] for other in later)
        return self._within(PATH_SHARE * seconds_left * share / (share + to_come))

    def off_path(self, seconds_left: float | None) -> int:
        """Return the samples of any other candidate: as ever, or what the time still allows."""
        if not self.timed or self.rate is None or seconds_left is None:
            return self.samples
        return min(self.samples, self._within(seconds_left))

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
        affordable = int((self.rate or 0.0) * (seconds - self._overhead))
        return max(LEAST_SAMPLES, affordable)
