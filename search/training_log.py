"""What was spent on training each network of a search, and how fast that went."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..evaluators.request import Evaluation
from ..spaces.policy import Policy


@dataclass(frozen=True)
class Training:
    """The training that a trial's policy had, in this trial and in those that it continues."""

    policy: Policy
    seconds: float
    """Wall time, that of larger networks whose weights it took over left out."""
    rate: float
    """Samples in a second, the last time that it was trained; 0 where it never was."""


@dataclass
class TrainingLog:
    """Remembers trainings by trial."""

    _found: dict[int, Training] = field(default_factory=dict, init=False)

    def add(self, trial: int, policy: Policy, evaluation: Evaluation) -> None:
        """Take in how a trial was trained."""
        seconds = evaluation.seconds.get("train", 0.0) if evaluation.samples else 0.0
        before = None if evaluation.ancestor is None else self._found.get(evaluation.ancestor)
        earlier = before.seconds if before is not None and before.policy == policy else 0.0
        self._found[trial] = Training(policy, earlier + seconds, evaluation.samples / seconds if seconds else 0.0)

    def of(self, trial: int) -> Training | None:
        """Return a trial's training, ``None`` where there was none."""
        found = self._found.get(trial)
        return found if found is not None and found.rate > 0 else None
