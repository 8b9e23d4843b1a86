"""What was spent on training each network of a search, and how fast that went."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..evaluators.evaluation import Evaluation
from ..spaces.policy import Policy


@dataclass(frozen=True)
class Training:
    """The training that a policy had, in all trials of it."""

    seconds: float
    """Wall time, that of larger networks whose weights it took over left out."""
    rate: float
    """Samples in a second, the last time."""
    samples: int
    """In all, those that its ancestors saw left out."""


@dataclass
class TrainingLog:
    """Remembers trainings by network, whatever its precision: those that came to nothing count too."""

    _found: dict[Policy, Training] = field(default_factory=dict, init=False)

    def add(self, policy: Policy, evaluation: Evaluation) -> None:
        """Take in how a policy was trained."""
        seconds = evaluation.seconds.get("train", 0.0)
        if evaluation.samples and seconds > 0:
            network = network_of(policy)
            before = self._found.get(network)
            earlier, seen = (0.0, 0) if before is None else (before.seconds, before.samples)
            rate = evaluation.samples / seconds
            self._found[network] = Training(earlier + seconds, rate, seen + evaluation.samples)

    def of(self, policy: Policy) -> Training | None:
        """Return a network's training, ``None`` where there was none."""
        return self._found.get(network_of(policy))


def network_of(policy: Policy) -> Policy:
    """Return the policy that is trained: an int8 one is so at fp32."""
    return replace(policy, precision="fp32")
