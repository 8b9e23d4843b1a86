"""RMSE: the root of the mean squared error, in the unit of the targets."""

from __future__ import annotations

import torch

from .regression import RegressionMetric


class RootMeanSquaredError(RegressionMetric):
    """The root of the mean squared difference between outputs and targets, over all values; lower is better."""

    title = "RMSE"
    direction = "minimize"

    def compute(self) -> float:
        """Return the root; NaN where no value counted."""
        return super().compute() ** 0.5

    def _error(self, difference: torch.Tensor) -> torch.Tensor:
        return difference.square()
