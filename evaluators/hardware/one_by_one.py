"""For cost models that compute: networks need no turns, since nothing drifts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import nn

from ..task.task import Inputs
from .base import Cost


class OneByOne(ABC):
    """Tells the costs of several networks as it tells those of one."""

    @abstractmethod
    def estimate(
        self, model: nn.Module, example_input: Inputs, *, precision: str = "fp32", onnx: bytes | None = None
    ) -> Cost:
        """Return one network's cost, see :meth:`~espalier.evaluators.hardware.base.CostModel.estimate`."""

    def estimate_together(
        self,
        models: Sequence[nn.Module],
        example_input: Inputs,
        *,
        precisions: Sequence[str],
        onnx: Sequence[bytes | None] = (),
    ) -> tuple[Cost, ...]:
        """Return each network's cost."""
        triples = zip(models, precisions, onnx or [None] * len(models), strict=True)
        return tuple(self.estimate(m, example_input, precision=precision, onnx=file) for m, precision, file in triples)
