"""How much of the loss that pruning brings lasts, when training is to follow.

The loss right after a cut says little of the loss in the end: a dropped branch looks hopeless, since the layers behind
it have never seen such inputs, and is mended within a few thousand samples; half a layer's filters look harmless, and
stay lost. So what comes into question is trained for a little while. What is left of the rise then tells how fast it
mends: a hyperbola through both points, ``rise * t / (t + samples)``, tells how much of it lasts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...spaces.policy import Policy

TrainedLoss = Callable[[Policy, int], float]
"""The loss of a policy on validation data after so many samples of training."""
MOST_SAMPLES = 5_120
LEAST_SAMPLES = 3_072
"""Shorter trainings are over before the learning rate has come down, and tell nothing."""
LEAST_MENDED = 1.1
"""A rise that training hardly lowered is taken to have been so many times as high: training was too short to tell."""


@dataclass(frozen=True)
class Recovery:
    """Tells what lasts of a rise in loss.

    Args:
        trained_loss: trains and looks; slow.
        samples: of training for all policies that are asked about together.
        horizon: samples of training that are to follow a cut.
    """

    trained_loss: TrainedLoss
    samples: int
    horizon: int

    @property
    def most(self) -> int:
        """How many policies can be trained for long enough, beside the dense network."""
        return self.samples // LEAST_SAMPLES - 1

    def of(self, dense: Policy, policies: Sequence[Policy], rises: Sequence[float]) -> tuple[float, ...]:
        """Return what lasts of the rises in loss that at most :attr:`most` policies bring before any training."""
        each = min(MOST_SAMPLES, self.samples // (len(policies) + 1))
        base = self.trained_loss(dense, each)
        after = (self.trained_loss(policy, each) - base for policy in policies)
        return tuple(
            loss_after_recovery(rise, left, each, self.horizon) for rise, left in zip(rises, after, strict=True)
        )


def loss_after_recovery(before: float, after: float, samples: int, horizon: int) -> float:
    """Return what is left of a rise in loss after ``horizon`` samples of training.

    Args:
        before: the rise before training.
        after: the rise after ``samples`` of training.
        samples: above zero.
        horizon: above zero.
    """
    if before <= 0:
        return max(0.0, after)
    mended = max(LEAST_MENDED, before / max(after, 1e-9))
    half_time = samples / (mended - 1)
    return before * half_time / (half_time + horizon)
