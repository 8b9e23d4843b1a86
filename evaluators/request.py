"""What goes to a worker and what comes back: plain, picklable values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..spaces.policy import Policy
from .evaluation import Evaluation, Metrics
from .hardware.base import LayerCost


@dataclass(frozen=True)
class Ancestor:
    """A fine-tuned network whose weights a smaller one takes over, so that training compounds."""

    trial: int
    policy: Policy
    """Keeps all that its heir keeps."""
    weights_path: str
    samples: int
    """Training samples that its weights have seen since the dense network, those of its own ancestors included."""


def batch_seed(seed: int, ancestor: Ancestor | None) -> int:
    """Return the seed of a candidate's batches: the same for all that start alike, so that they can be compared.

    What goes on from trained weights sees other batches than these were trained on last.
    """
    return seed if ancestor is None else seed + ancestor.samples


@dataclass(frozen=True)
class EvaluationRequest:
    """One policy to be evaluated at one fidelity."""

    trial: int
    policy: Policy
    samples: int
    """Fidelity: how many training samples the pruned network is fine-tuned on."""
    seed: int
    weights_path: str | None = None
    """Where to store the fine-tuned weights (safetensors); ``None`` stores none."""
    ancestor: Ancestor | None = None
    """Whose weights it starts from; ``None`` is the dense network."""


@dataclass(frozen=True)
class FinishRequest:
    """A member of the front whose final numbers are wanted."""

    trial: int
    policy: Policy
    weights_path: str | None


@dataclass(frozen=True)
class FinishedNetwork:
    """Final numbers of one network: the test score, read once, and the latency, measured with nothing else running."""

    trial: int | None
    """``None`` is the dense network, as it was brought."""
    evaluation: Evaluation
    layers: tuple[LayerCost, ...] = ()
    int8_sha256: str | None = None
    """Digest of the int8 file that the numbers are of; ``None`` at fp32."""

    @property
    def metrics(self) -> Metrics:
        """Its numbers."""
        return self.evaluation.metrics


class Evaluator(Protocol):
    """Anything that says what a policy is worth. Lives in a worker; expensive parts are built once."""

    def evaluate(self, request: EvaluationRequest) -> Evaluation:
        """Return what the request's policy is worth, after writing its weights where the request says.

        Raises:
            EvaluationError: this candidate diverged, ran out of memory or could not be built.
        """
        ...
