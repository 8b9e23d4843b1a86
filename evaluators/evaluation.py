"""What a network is worth, and how its numbers were come by."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Metrics = Mapping[str, float | None]
"""``accuracy``, ``train_accuracy``, ``accuracy_recalibrated``, ``latency_ms``, ``size_bytes``, ``macs``, ``params``,
``peak_memory_bytes`` and, where known, ``energy_mj`` and ``test_accuracy``; ``None`` is unknown."""


@dataclass(frozen=True)
class Evaluation:
    """What a policy is worth."""

    metrics: Metrics
    latency_source: str
    """``measured``, ``learned``, ``roofline`` or ``vela``."""
    latency_error: float
    """Half the width of the latency's interval, as a fraction of the latency."""
    samples: int = 0
    """Fidelity: training samples of its own, seen after it was pruned."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall time by step: ``prune``, ``train``, ``validate``, ``cost``."""
    inherited_samples: int = 0
    """Training samples that the weights it started from had seen since the dense network."""
    ancestor: int | None = None
    """The trial that these weights are of; ``None`` is the dense network."""

    def with_metrics(self, metrics: Metrics) -> Evaluation:
        """Return it with some metrics replaced or added."""
        return dataclasses.replace(self, metrics={**self.metrics, **metrics})

    def with_final(self, final: Evaluation) -> Evaluation:
        """Return it with final numbers: those of its network, taken with nothing else running."""
        found = self.with_metrics(final.metrics)
        return dataclasses.replace(found, latency_source=final.latency_source, latency_error=final.latency_error)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, its numbers Python's own: Optuna's attributes take no NumPy scalars."""
        return {
            "metrics": {name: None if value is None else _plain(value) for name, value in self.metrics.items()},
            "latency_source": self.latency_source,
            "latency_error": float(self.latency_error),
            "samples": int(self.samples),
            "inherited_samples": int(self.inherited_samples),
            "ancestor": self.ancestor,
            "seconds": {step: round(float(seconds), 6) for step, seconds in self.seconds.items()},
        }

    def numbers(self) -> dict[str, Any]:
        """Return the plain data without the training: metrics and where the latency is from."""
        whole = self.to_dict()
        return {name: whole[name] for name in ("metrics", "latency_source", "latency_error")}


def _plain(value: float) -> float | int:
    return value if isinstance(value, int) and not isinstance(value, bool) else float(value)
