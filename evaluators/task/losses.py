"""The loss of a task: its own, or one that follows the metric and leaves out what does not count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from ...errors import TaskError, describe
from ...spaces.importance.samples import Loss
from .metrics import Positions, main_output
from .task import Task
from .task_measure import is_regression, positions_of


def loss_of(task: Task) -> Loss:
    """Return the loss that the task is trained with.

    A loss of the task's own stays as it is. The default is the squared error where the metric is a built-in one of
    regression; else cross-entropy, which is binary where the network gives one logit; both of the tensor called
    ``logits``, or of the only one, and of the positions that count.

    Raises:
        TaskError: label smoothing is asked for beside a loss of the task's own, or is out of range.
    """
    smoothing = task.label_smoothing
    if not 0 <= smoothing < 1:
        raise TaskError(
            describe(
                f"label_smoothing {smoothing}", expected="a number in [0, 1)", remedy="Usual is 0.1; 0 smooths nothing."
            )
        )
    if task.loss is not F.cross_entropy:
        if smoothing:
            raise TaskError(
                describe(
                    "label_smoothing beside a loss of the task's own",
                    expected="the default loss",
                    remedy="Smooth the labels in the loss, or leave one of the two out.",
                )
            )
        return task.loss
    positions = positions_of(task)
    return SquaredError(positions) if is_regression(task) else CrossEntropy(positions, smoothing)


@dataclass(frozen=True)
class SquaredError:
    """The mean squared difference of outputs and targets of the same shape."""

    positions: Positions

    def __call__(self, outputs: Any, targets: Any) -> torch.Tensor:
        """Return the loss of one batch."""
        values, wanted = self.positions.paired(outputs, targets)
        return F.mse_loss(values.float(), wanted.float())


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy over the classes, or between the two that one logit tells apart."""

    positions: Positions
    smoothing: float = 0.0

    def __call__(self, outputs: Any, targets: Any) -> torch.Tensor:
        """Return the loss of one batch; zero where no position counts."""
        if self._is_plain(outputs, targets):
            return F.cross_entropy(outputs, targets, label_smoothing=self.smoothing)
        wanted = self.positions.targets_of(targets)
        scores = main_output(outputs)
        if wanted.is_floating_point() and wanted.shape == scores.shape and scores.dim() > 1 and scores.shape[1] > 1:
            return F.cross_entropy(scores, wanted, label_smoothing=self.smoothing)  # shares of classes
        scores, labels = self.positions.labelled(outputs, targets)
        if not len(labels):
            return scores.sum() * 0.0
        if scores.dim() == 1:
            shares = labels.to(scores.dtype) * (1 - self.smoothing) + self.smoothing / 2
            return F.binary_cross_entropy_with_logits(scores, shares)
        return F.cross_entropy(scores, labels, label_smoothing=self.smoothing)

    def _is_plain(self, outputs: Any, targets: Any) -> bool:
        """Return whether PyTorch's own loss takes them as they are."""
        if self.positions != Positions() or not all(isinstance(t, torch.Tensor) for t in (outputs, targets)):
            return False
        return outputs.dim() == 2 and targets.dim() == 1 and outputs.shape[1] > 1 and not targets.is_floating_point()
