"""AUC: how often a sample of a class scores higher than one that is not of it.

Computed exactly from ranks (Mann and Whitney, 1947), ties counting half; for more than two classes, the mean over the
classes of one against the rest. Scores are kept, one number for each sample and class, as ranks need all of them.
"""

from __future__ import annotations

from typing import Any

import torch

from .base import BuiltInMetric


class AUC(BuiltInMetric):
    """The area under the receiver operating characteristic; of classes that occur and of which there are others."""

    title = "AUC"

    def reset(self) -> None:
        """Forget all batches."""
        self._scores: list[torch.Tensor] = []
        self._labels: list[torch.Tensor] = []

    def update(self, outputs: Any, targets: Any) -> None:
        """Take in one batch: logits or probabilities, whose order is all that counts."""
        scores, labels = self.positions.labelled(outputs, targets)
        scores = scores.double()
        if scores.dim() == 2 and scores.shape[1] == 2:
            scores = scores[:, 1] - scores[:, 0]
        elif scores.dim() == 2:
            scores = scores.log_softmax(1)
        self._scores.append(scores)
        self._labels.append(labels)

    def compute(self) -> float:
        """Return the area; NaN where only one class occurs."""
        if not self._scores:
            return float("nan")
        scores, labels = torch.cat(self._scores), torch.cat(self._labels)
        if scores.dim() == 1:
            return _area(scores, labels == 1)
        areas = (_area(scores[:, each], labels == each) for each in range(scores.shape[1]))
        known = [area for area in areas if area == area]
        return sum(known) / len(known) if known else float("nan")


def _area(scores: torch.Tensor, positive: torch.Tensor) -> float:
    """Return the share of pairs of a positive and a negative in which the positive scores higher; ties count half."""
    count, of = int(positive.sum()), len(positive)
    if count in (0, of):
        return float("nan")
    _, places, sizes = torch.unique(scores, return_inverse=True, return_counts=True)
    ends = sizes.cumsum(0).double()
    ranks = (ends - (sizes.double() - 1) / 2)[places]
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (of - count)))
