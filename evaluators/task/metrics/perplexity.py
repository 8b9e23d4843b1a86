"""Perplexity: the exponential of the mean negative log-likelihood of the tokens that count."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from .base import BuiltInMetric


class Perplexity(BuiltInMetric):
    """How many tokens a language model hesitates between, as it were; lower is better, 1 is certainty."""

    title = "perplexity"
    direction = "minimize"
    share = False

    def reset(self) -> None:
        """Forget all batches."""
        self._sum, self._count = 0.0, 0

    def update(self, outputs: Any, targets: Any) -> None:
        """Take in one batch of logits."""
        scores, labels = self.positions.labelled(outputs, targets)
        if scores.dim() == 1:
            scores = torch.stack((torch.zeros_like(scores), scores), 1)
        self._sum += float(F.cross_entropy(scores.double(), labels, reduction="sum"))
        self._count += len(labels)

    def compute(self) -> float:
        """Return the perplexity; NaN where no token counted, infinity where it is above what a float holds."""
        if not self._count:
            return float("nan")
        mean = self._sum / self._count
        return math.exp(mean) if mean < 700 else math.inf
