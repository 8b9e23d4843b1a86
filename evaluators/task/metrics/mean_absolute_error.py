"""MAE: the mean absolute error, in the unit of the targets."""

from __future__ import annotations

import torch

from .regression import RegressionMetric


class MeanAbsoluteError(RegressionMetric):
    """The mean absolute difference between outputs and targets; lower is better."""

    title = "MAE"
    direction = "minimize"

    def _error(self, difference: torch.Tensor) -> torch.Tensor:
        return difference.abs()
