"""What a score is called, in which direction it improves, and how far from the dense network's a search looks.

The score of a network is stored as ``accuracy`` whatever it is: readers of ``front.json`` depend on that name. A
:class:`Measure` says what stands there, in the metric's own unit and direction, and is carried from the task to
everything that compares, words or draws a score.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...errors import TaskError, describe
from ..objectives import SCORE, Direction, Objective

SCORES = (SCORE, "test_accuracy", "train_accuracy", "accuracy_recalibrated")
"""Fields of ``metrics`` that hold the score: on validation data, on test data, on training data, before fine-tuning."""

REFERENCE_SHARE = 0.5
"""The reference point is worse than the dense network by this share of its score, where higher is better."""
REFERENCE_ERROR = 1.0
"""The same share where lower is better: twice the dense network's error."""


@dataclass(frozen=True)
class Measure:
    """What a task's score is: as plain data, without what computes it."""

    name: str = "accuracy"
    """As people read it: ``accuracy``, ``RMSE``, ``macro-F1``."""
    direction: Direction = "maximize"
    unit: str = ""
    share: bool = True
    """A fraction in 0..1 that is shown in per cent, and whose differences are points."""
    usable_from: float | None = None
    """The score from which on a network is of use; ``None`` where the task does not say."""

    def __post_init__(self) -> None:
        if self.direction not in ("maximize", "minimize"):
            raise TaskError(
                describe(
                    f"direction {self.direction!r}",
                    expected="maximize or minimize",
                    remedy="Say minimize for an error.",
                )
            )
        if self.usable_from is not None and not math.isfinite(self.usable_from):
            raise TaskError(
                describe(
                    f"usable_from {self.usable_from!r}",
                    expected="a finite score",
                    remedy="Give a number, or leave it out.",
                )
            )

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher score is the better one."""
        return self.direction == "maximize"

    @property
    def sign(self) -> int:
        """Factor that turns the score into one to minimise."""
        return -1 if self.higher_is_better else 1

    @property
    def words(self) -> str:
        """Name, unit and direction: ``RMSE in mm, lower is better``."""
        unit = f" in {self.unit}" if self.unit else ""
        return f"{self.name}{unit}, {'higher' if self.higher_is_better else 'lower'} is better"

    @property
    def objective(self) -> Objective:
        """The score as an objective."""
        return Objective(SCORE, self.direction, self.unit, ("metric",))

    def key(self, value: float | None) -> float:
        """Return what sorts scores best first; an unknown one is the worst."""
        return math.inf if value is None or math.isnan(value) else self.sign * value

    def best(self, values: Iterable[float | None]) -> float | None:
        """Return the best of the known values; ``None`` where there is none."""
        return min((v for v in values if v is not None), key=self.key, default=None)

    def worst(self, values: Iterable[float | None]) -> float | None:
        """Return the worst of the known values; ``None`` where there is none."""
        return max((v for v in values if v is not None), key=self.key, default=None)

    def loss(self, value: float, dense: float) -> float:
        """Return by how much ``value`` is worse than ``dense``, in the metric's unit; below zero where it is better."""
        return self.sign * (value - dense)

    def improved(self, value: float, by: float) -> float:
        """Return a score that is better than ``value`` by an amount in the metric's unit."""
        return value - self.sign * by

    def reference(self, dense: float) -> float:
        """Return the score that a network must beat to be worth anything beside the dense one.

        That is ``usable_from`` where the task says it and the dense network beats it; else half the dense score where
        higher is better, and twice the dense error where lower is. A score below zero moves away from zero by the same
        share of its size; from a score of zero it is one unit.
        """
        if self.usable_from is not None and self.loss(self.usable_from, dense) > 0:
            return self.usable_from
        room = (REFERENCE_SHARE if self.higher_is_better else REFERENCE_ERROR) * abs(dense)
        return dense + self.sign * (room or 1.0)

    def room(self, dense: float) -> float:
        """Return how far the reference is from the dense score; above zero."""
        return abs(dense - self.reference(dense))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: the ``metric`` of ``front.json``."""
        return {
            "name": self.name,
            "direction": self.direction,
            "unit": self.unit,
            "higher_is_better": self.higher_is_better,
            "share": self.share,
            "usable_from": self.usable_from,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> Measure:
        """Rebuild a measure; without data it is accuracy, as in runs of before measures were stored."""
        if data is None:
            return ACCURACY
        names = ("name", "direction", "unit", "share", "usable_from")
        return cls(**{name: data[name] for name in names if name in data})


ACCURACY = Measure()


def measured(objectives: tuple[Objective, ...], measure: Measure) -> tuple[Objective, ...]:
    """Return the objectives with the score's direction and unit put right."""
    return tuple(replace(o, direction=measure.direction, unit=measure.unit) if o.is_score else o for o in objectives)
