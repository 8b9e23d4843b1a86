"""Which of a run's fine-tuned networks a new candidate starts from, so that training compounds along a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..evaluators.configuration import Configuration
from ..evaluators.request import Ancestor
from ..spaces.graph.groups import Graph
from ..spaces.importance.rankings import Rankings
from ..spaces.inheritance import may_inherit
from ..spaces.policy import Policy
from .run_folder.trial_record import weights_name


@dataclass(frozen=True)
class Checkpoints:
    """Finds ancestors.

    Args:
        graph: the network's trace.
        rankings: by which the run prunes.
        folder: of the run, which holds the weights.
    """

    graph: Graph
    rankings: Rankings
    folder: Path

    def nearest(self, policy: Policy, members: Iterable[Configuration]) -> Ancestor | None:
        """Return the member that was trained on most and keeps all that ``policy`` keeps; of equal ones the smallest.

        ``None`` where the dense network is the only one: nothing was trained that the candidate could take over.
        """
        trained = [m for m in members if m.seen_samples and self._weights(m).exists()]
        fitting = [m for m in trained if may_inherit(self.graph, policy, m.policy, self.rankings)]
        best = max(fitting, key=lambda m: (m.seen_samples, -(m.metrics.get("params") or 0), -m.trial), default=None)
        if best is None:
            return None
        return Ancestor(best.trial, best.policy, str(self._weights(best).resolve()), best.seen_samples)

    def _weights(self, member: Configuration) -> Path:
        return self.folder / weights_name(member.trial)
