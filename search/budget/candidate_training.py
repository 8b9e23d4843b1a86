"""How long each candidate is trained, by what it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...evaluators.request import Ancestor
from ...spaces.policy import Policy
from ..archive import Archive
from ..generation.base import Candidate
from .training_budget import TrainingBudget


@dataclass(frozen=True)
class CandidateTraining:
    """Says a candidate's samples.

    Args:
        training_budget: shares the time out.
        archive: knows what a network was trained on before.
        elapsed: tells the seconds of the search so far.
        time_left: tells those that are left; ``None`` is any number.
    """

    training_budget: TrainingBudget
    archive: Archive
    elapsed: Callable[[], float]
    time_left: Callable[[], float | None]

    def samples(self, candidate: Candidate, ancestor: Ancestor | None, path_to_come: Sequence[Policy]) -> int:
        """Return the training samples of a candidate.

        Args:
            candidate: what is to be evaluated.
            ancestor: whose weights it starts from.
            path_to_come: networks of the path that are still to be trained after it.
        """
        policy = candidate.policy
        if candidate.samples is not None:
            return candidate.samples
        if candidate.rung is not None:
            return self._at_rung(candidate.rung, policy, ancestor)
        if ancestor is not None and ancestor.policy.choices == policy.choices:
            return 0  # the same network at another precision: its training is done
        if self.training_budget.budget is not None and all(choice.type == "none" for choice in policy.choices.values()):
            return 0  # as it was brought: the slowest network to train, and not faster than itself
        if self.archive.is_on_path(policy):
            return self.training_budget.on_path(policy, path_to_come, self.elapsed())
        return self.training_budget.off_path(self.time_left())

    def _at_rung(self, rung: int, policy: Policy, ancestor: Ancestor | None) -> int:
        """Return what a candidate lacks of a rung's training; its network may have had some at another precision."""
        own = ancestor is not None and ancestor.policy.choices == policy.choices
        training = self.archive.trainings.of(policy) if own else None
        lacking = self.archive.ladder.rungs[rung] - (0 if training is None else training.samples)
        return min(self.training_budget.off_path(self.time_left()), lacking) if lacking > 0 else 0
