"""What a metric is: a class whose objects take in batch after batch and say in the end what they come to."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, runtime_checkable

from ...objectives import Direction
from .positions import Positions


@runtime_checkable
class Metric(Protocol):
    """Accumulates a score batch by batch, so that outputs need not share a length; ``torchmetrics.Metric`` is one."""

    def reset(self) -> None:
        """Forget all batches."""
        ...

    def update(self, outputs: Any, targets: Any, /) -> Any:
        """Take in one batch.

        Args:
            outputs: what the network gave.
            targets: what it should have given.
        """
        ...

    def compute(self) -> Any:
        """Return the score of all batches since the last reset, as a number or a tensor of one."""
        ...


class BuiltInMetric:
    """A metric that Espalier ships: what it is called, which way it improves, and which positions it leaves out.

    Args:
        positions: says which tensor of the outputs counts, and which positions of it.
    """

    title: ClassVar[str]
    """As people read it."""
    direction: ClassVar[Direction] = "maximize"
    share: ClassVar[bool] = True
    """Whether it is a fraction in 0..1, shown in per cent."""

    def __init__(self, positions: Positions | None = None) -> None:
        self.positions = positions or Positions()
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        raise NotImplementedError

    def update(self, outputs: Any, targets: Any) -> None:
        """Take in one batch."""
        raise NotImplementedError

    def compute(self) -> float:
        """Return the score of all batches since the last reset; NaN where no position counted."""
        raise NotImplementedError
