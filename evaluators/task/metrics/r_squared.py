"""R²: the share of the targets' variance that the outputs explain."""

from __future__ import annotations

from typing import Any

import torch

from .regression import RegressionMetric


class RSquared(RegressionMetric):
    """One minus the squared error as a share of the targets' variance, over all values; 0 is what their mean gets.

    The variance is gathered as Chan, Golub and LeVeque do (1979), which a plain sum of squares is too coarse for.
    """

    title = "R\u00b2"

    def reset(self) -> None:
        """Forget all batches."""
        super().reset()
        self._mean, self._spread = 0.0, 0.0

    def update(self, outputs: Any, targets: Any) -> None:
        """Take in one batch."""
        _, wanted = self.positions.paired(outputs, targets)
        before, count = self._count, len(wanted)
        super().update(outputs, targets)
        if count:
            mean = float(wanted.mean())
            apart = mean - self._mean
            self._spread += float((wanted - mean).square().sum()) + apart**2 * before * count / self._count
            self._mean += apart * count / self._count

    def compute(self) -> float:
        """Return R²; NaN where the targets do not vary."""
        return 1 - self._sum / self._spread if self._spread > 0 else float("nan")

    def _error(self, difference: torch.Tensor) -> torch.Tensor:
        return difference.square()
