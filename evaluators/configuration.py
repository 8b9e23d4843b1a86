"""A configuration: a policy that was evaluated, and what it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..spaces.policy import Policy
from .objectives import Constraint


@dataclass(frozen=True)
class Configuration:
    """An evaluated policy with its metrics and, where they are kept, its weights."""

    trial: int
    policy: Policy
    metrics: Mapping[str, float | None]
    """``accuracy``, ``train_accuracy``, ``accuracy_recalibrated``, ``latency_ms``, ``size_bytes``, ``macs``,
    ``params``, ``peak_memory_bytes`` and, where known, ``energy_mj`` and ``test_accuracy``; ``None`` is unknown."""
    latency_source: str
    """``measured``, ``learned`` or ``roofline``."""
    latency_error: float
    """Half the width of the latency's interval, as a fraction of the latency."""
    samples: int
    """Fidelity: how many training samples the network saw after it was pruned."""
    inherited_samples: int = field(default=0, kw_only=True)
    """How many the weights that it started from had seen before, since the dense network."""
    ancestor: int | None = field(default=None, kw_only=True)
    """The trial that these weights are of; ``None`` is the dense network."""
    weights: str | None = None
    """Path of its weights inside the run folder; ``None`` where they were not kept."""
    tags: tuple[str, ...] = field(default=())

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
