"""What counts classes: which were wanted where which were given."""

from __future__ import annotations

from typing import Any

import torch

from .base import BuiltInMetric


class ConfusionMetric(BuiltInMetric):
    """A metric of the confusion matrix, whose rows are targets and whose columns are predictions."""

    def reset(self) -> None:
        """Forget all batches."""
        self._matrix: torch.Tensor | None = None

    def update(self, outputs: Any, targets: Any) -> None:
        """Take in one batch."""
        scores, labels = self.positions.labelled(outputs, targets)
        predicted = (scores > 0).long() if scores.dim() == 1 else scores.argmax(1)
        classes = 2 if scores.dim() == 1 else scores.shape[1]
        counts = torch.bincount(labels * classes + predicted, minlength=classes * classes).view(classes, classes)
        self._matrix = counts if self._matrix is None else self._matrix + counts

    def compute(self) -> float:
        """Return the mean over the classes that occur among targets or predictions; NaN where there is none."""
        if self._matrix is None:
            return float("nan")
        right = self._matrix.diagonal().double()
        wanted, given = self._matrix.sum(1).double(), self._matrix.sum(0).double()
        occurs = wanted + given > 0
        if not bool(occurs.any()):
            return float("nan")
        return float(self._by_class(right, wanted, given)[occurs].mean())

    def _by_class(self, right: torch.Tensor, wanted: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError
