"""A configuration: a policy that was evaluated, and what it is worth."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from ..spaces.policy import Policy
from .evaluation import Evaluation, Metrics
from .objectives import Constraint


@dataclass(frozen=True)
class Configuration:
    """An evaluated policy with its metrics and, where they are kept, its weights."""

    trial: int
    policy: Policy
    evaluation: Evaluation
    weights: str | None = None
    """Path of its weights inside the run folder; ``None`` where they were not kept."""
    tags: tuple[str, ...] = field(default=())

    @property
    def metrics(self) -> Metrics:
        """Its numbers."""
        return self.evaluation.metrics

    @property
    def latency_source(self) -> str:
        """Where the latency is from."""
        return self.evaluation.latency_source

    @property
    def latency_error(self) -> float:
        """Half the width of the latency's interval, as a fraction of the latency."""
        return self.evaluation.latency_error

    @property
    def samples(self) -> int:
        """Fidelity: how many training samples the network saw after it was pruned."""
        return self.evaluation.samples

    @property
    def inherited_samples(self) -> int:
        """How many the weights that it started from had seen before, since the dense network."""
        return self.evaluation.inherited_samples

    @property
    def ancestor(self) -> int | None:
        """The trial that these weights are of; ``None`` is the dense network."""
        return self.evaluation.ancestor

    def with_metrics(self, metrics: Metrics) -> Configuration:
        """Return it with some metrics replaced or added."""
        return dataclasses.replace(self, evaluation=self.evaluation.with_metrics(metrics))

    @property
    def seen_samples(self) -> int:
        """All training samples that its weights have seen since the dense network."""
        return self.samples + self.inherited_samples

    def feasible(self, constraints: tuple[Constraint, ...]) -> bool:
        """Return whether every constraint is met."""
        return all(c.violation(self.metrics) <= 0 for c in constraints)

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of ``front.json``."""
        return {
            "trial": self.trial,
            "tags": list(self.tags),
            "policy": f"policies/{self.trial}.json",
            "weights": self.weights,
            "metrics": dict(self.metrics),
            "latency_source": self.latency_source,
            "latency_error": self.latency_error,
            "samples": self.samples,
            "inherited_samples": self.inherited_samples,
            "ancestor": self.ancestor,
        }
