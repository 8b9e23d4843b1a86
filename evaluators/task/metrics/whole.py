"""A metric that is a plain function: called once, on the outputs and targets of all batches together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_map

from ....errors import EvaluationError, describe
from ....spaces.inputs import tensors_of


class WholeMetric:
    """Keeps all batches for a function that wants everything at once.

    Args:
        function: ``(outputs, targets)`` to a number.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._outputs: list[Any] = []
        self._targets: list[Any] = []

    def update(self, outputs: Any, targets: Any) -> None:
        """Keep one batch."""
        self._outputs.append(outputs)
        self._targets.append(targets)

    def compute(self) -> float:
        """Return what the function says of all batches.

        Raises:
            EvaluationError: outputs or targets of differing shapes cannot be joined.
        """
        return float(self._function(_joined(self._outputs, "outputs"), _joined(self._targets, "targets")))


def _joined(parts: list[Any], what: str) -> Any:
    if not tensors_of(parts[0]):
        return [item for part in parts for item in part]
    try:
        return tree_map(lambda *each: torch.cat(each) if isinstance(each[0], torch.Tensor) else each[0], *parts)
    except (RuntimeError, ValueError, TypeError) as error:
        shapes = sorted({str([tuple(t.shape) for t in tensors_of(part)]) for part in parts})
        raise EvaluationError(
            describe(
                f"{what} of differing shapes ({'; '.join(shapes[:3])}), which a metric that is a function cannot take",
                expected="batches of one shape beside their first dimension",
                remedy="Give metric= a built-in name, a torchmetrics metric, or an object with reset, update and "
                "compute, which take in one batch after the other.",
            )
        ) from error
