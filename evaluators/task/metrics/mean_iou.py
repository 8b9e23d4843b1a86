"""mIoU: the mean over classes of intersection over union, the measure of segmentation."""

from __future__ import annotations

import torch

from .confusion import ConfusionMetric


class MeanIoU(ConfusionMetric):
    """The mean intersection over union of the classes that occur among targets or predictions, over all samples."""

    title = "mIoU"

    def _by_class(self, right: torch.Tensor, wanted: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        return right / (wanted + given - right)
