"""What the metrics of regression share: sums over all values that count, in fp64, batch by batch."""

from __future__ import annotations

from typing import Any

import torch

from .base import BuiltInMetric


class RegressionMetric(BuiltInMetric):
    """A metric of the differences between outputs and targets of the same shape; nothing is broadcast."""

    share = False

    def reset(self) -> None:
        """Forget all batches."""
        self._sum, self._count = 0.0, 0

    def update(self, outputs: Any, targets: Any) -> None:
        """Take in one batch."""
        values, wanted = self.positions.paired(outputs, targets)
        self._sum += float(self._error(values - wanted).sum())
        self._count += len(values)

    def compute(self) -> float:
        """Return the mean error; NaN where no value counted."""
        return self._sum / self._count if self._count else float("nan")

    def _error(self, difference: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError
