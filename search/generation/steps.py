"""The order in which the steps are asked, from the dense network to the last training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...spaces.policy import Policy
from ..archive import Archive
from ..budget.training_budget import TrainingBudget
from ..early_stopping import EarlyStopping
from .base import Candidate, Running
from .halving import Halving
from .new_networks import NewNetworks
from .points import PointSource
from .refinement import Refinement
from .trial_queue import TrialQueue


@dataclass
class GenerationSteps:
    """Says what is evaluated next.

    Args:
        queue: what a killed search left comes first of all.
        first: the user's policies, the dense network and the path, which go before candidates that could climb.
        new: brings networks that nobody has tried, those of ``first`` included.
        halving: trains the best of them further.
        refinement: trains members of the front on, once it is time.
        patience: ends the trying of new networks once the front has stopped to grow.
        training_budget: shares the time out.
        archive: knows what was evaluated.
        trials: how many networks are tried in all.
        elapsed: tells the seconds of the search so far.
        time_left: tells those that are left; ``None`` is any number.
    """

    queue: TrialQueue
    first: Sequence[PointSource]
    new: NewNetworks
    halving: Halving
    refinement: Refinement
    patience: EarlyStopping
    training_budget: TrainingBudget
    archive: Archive
    trials: int
    elapsed: Callable[[], float]
    time_left: Callable[[], float | None]

    def propose(self, running: Running) -> Candidate | None:
        """Return a network nobody has tried or, once it is time, one that is trained further."""
        if self._all_tried(running) or self.patience.is_over:
            return self._climb(running) or self.refinement.propose(running)
        waiting = self.queue.waiting or self.path_to_come(running)
        if not waiting:
            self.training_budget.end_path(self.elapsed())
        if self.refinement.is_due and not waiting:
            further = self.refinement.propose(running)
            # Where no member is worth more training, as where none is faster yet, the time goes to other candidates.
            # Nor does a worker stand idle while others train.
            over = self.refinement.has_begun and not running
            if further is not None or over or not self.training_budget.affords_another(self.time_left()):
                return further
        if not self._comes_first(running) and (climbing := self._climb(running)) is not None:
            return climbing
        return self.new.propose(running) or self._climb(running) or self.refinement.propose(running)

    def path_to_come(self, running: Running) -> tuple[Policy, ...]:
        """Return the networks of the path that are still to be trained, those that are ``running`` left out."""
        return tuple(policy for source in self.first for policy in source.to_come(running))

    def _all_tried(self, running: Running) -> bool:
        return self.archive.evaluated + sum(candidate.is_new for candidate in running.values()) >= self.trials

    def _comes_first(self, running: Running) -> bool:
        """Return whether what is new and proposed next goes before candidates that could climb."""
        return self.queue.waiting > 0 or any(source.has_some(running) for source in self.first)

    def _climb(self, running: Running) -> Candidate | None:
        return None if self.refinement.is_due else self.halving.propose(running)
