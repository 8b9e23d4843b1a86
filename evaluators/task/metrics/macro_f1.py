"""Macro-F1: the mean over classes of the harmonic mean of precision and recall."""

from __future__ import annotations

import torch

from .confusion import ConfusionMetric


class MacroF1(ConfusionMetric):
    """The mean F1 of the classes that occur among targets or predictions."""

    title = "macro-F1"

    def _by_class(self, right: torch.Tensor, wanted: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        return 2 * right / (wanted + given)
