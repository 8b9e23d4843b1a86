"""Accuracy: the share of samples, or of positions that count, whose largest logit is the target's."""

from __future__ import annotations

from typing import Any

import torch

from .base import BuiltInMetric
from .positions import Positions


class TopK(BuiltInMetric):
    """The share of positions whose target is among the ``k`` largest logits.

    Args:
        positions: see :class:`BuiltInMetric`.
        k: one logit for two classes is told by its sign, and then ``k`` is 1.
    """

    title = "top-k accuracy"

    def __init__(self, positions: Positions | None = None, *, k: int = 1) -> None:
        self.k = k
        super().__init__(positions)

    def reset(self) -> None:
        """Forget all batches."""
        self._right, self._count = 0, 0

    def update(self, outputs: Any, targets: Any) -> None:
        """Take in one batch."""
        scores, labels = self.positions.labelled(outputs, targets)
        self._right += int(self._hits(scores, labels).sum())
        self._count += len(labels)

    def compute(self) -> float:
        """Return the share that is right; NaN where no position counted."""
        return self._right / self._count if self._count else float("nan")

    def _hits(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if scores.dim() == 1:
            return (scores > 0).long() == labels
        if self.k == 1:
            return scores.argmax(1) == labels
        largest = scores.topk(min(self.k, scores.shape[1]), dim=1).indices
        return (largest == labels[:, None]).any(1)


class TopFive(TopK):
    """The share of positions whose target is among the five largest logits."""

    title = "top-5 accuracy"

    def __init__(self, positions: Positions | None = None) -> None:
        super().__init__(positions, k=5)


class Accuracy(TopK):
    """The share of positions whose largest logit is the target's; with one logit, whose sign is."""

    title = "accuracy"
