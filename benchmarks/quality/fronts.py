"""Fronts of test accuracy against latency, and the figures they are compared by.

Hypervolume is the area between a front and the reference point (half the dense test accuracy, the dense latency), each
axis scaled so that dense accuracy at no latency at all would be 1:

    ((accuracy - reference) / (dense - reference)) x (1 - latency / dense latency), as an area

which is the scaling of Espalier's own reports, here with two objectives. A front is chosen by *validation* accuracy and
measured latency; its hypervolume is that of the chosen networks' *test* accuracies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from espalier.evaluators.pareto import Point, hypervolume, non_dominated

FRACTIONS = (0.75, 0.65, 0.5, 0.25)
"""Of the dense latency, at which the best accuracy is told. With only its inner convolutions pruned a ResNet-20 does
not get to one half."""


@dataclass(frozen=True)
class Scored:
    """One candidate's final numbers."""

    seconds: float
    """CPU seconds after which the method had it."""
    validation: float
    test: float
    latency: float
    """Measured, as a fraction of the dense network's."""


def front(candidates: Sequence[Scored]) -> list[Scored]:
    """Return the candidates that no other beats on validation accuracy and latency, fastest first."""
    points: list[Point] = [(-c.validation, c.latency) for c in candidates]
    return sorted((candidates[i] for i in non_dominated(points)), key=lambda c: c.latency)


def test_hypervolume(candidates: Sequence[Scored], dense_test: float) -> float:
    """Return the hypervolume of the test accuracies of the candidates' front."""
    reference = dense_test / 2
    points: list[Point] = [(1 - (c.test - reference) / (dense_test - reference), c.latency) for c in front(candidates)]
    return hypervolume(points, (1.0, 1.0))


def accuracy_at(candidates: Sequence[Scored], fraction: float) -> float | None:
    """Return the best test accuracy on the front at no more than a fraction of the dense latency."""
    return max((c.test for c in front(candidates) if c.latency <= fraction), default=None)


def timeline(candidates: Sequence[Scored], dense_test: float) -> list[tuple[float, float]]:
    """Return the hypervolume after each candidate came, by CPU seconds."""
    order = sorted(candidates, key=lambda c: c.seconds)
    return [(c.seconds, test_hypervolume(order[: i + 1], dense_test)) for i, c in enumerate(order)]


def time_to(line: Sequence[tuple[float, float]], wanted: float) -> float | None:
    """Return the CPU seconds after which a timeline has reached a hypervolume, and stays there."""
    reached: float | None = None
    for seconds, value in line:
        if value < wanted - 1e-9:
            reached = None
        elif reached is None:
            reached = seconds
    return reached
