"""Where candidates come from: one step for each source, asked in order (as Ax's generation nodes and BoTorch's loops).

A step says what to evaluate next, and hears how it came out. Steps of one kind bring networks that nobody has tried:
they only make suggestions, as a suggestion may be known already or cost too much. Steps of the other kind train on what
was evaluated before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from optuna.trial import Trial

from ...evaluators.configuration import Configuration
from ...spaces.policy import Policy
from ...spaces.search_space import Value
from ..archive import Outcome
from ..run_folder.origin import Origin


@dataclass(frozen=True)
class Suggestion:
    """What a step would have evaluated."""

    values: Mapping[str, Value]
    """Of the search space's parameters."""
    origin: Origin
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """What else the trial is to remember."""


@dataclass(frozen=True)
class Candidate:
    """A trial that is to be evaluated."""

    trial: Trial
    policy: Policy
    origin: Origin
    step: GenerationStep
    rung: int | None = None
    """Of the ladder of fidelities that it is evaluated at; ``None`` off the ladder."""
    trains_on: Configuration | None = None
    """The earlier network that is trained further; ``None`` where nobody has tried the policy."""
    samples: int | None = None
    """Training samples, where the step decides them; ``None`` leaves that to the training budget."""

    @property
    def is_new(self) -> bool:
        """Whether nobody has evaluated the policy yet."""
        return self.trains_on is None


Running = Mapping[int, Candidate]
"""The candidates that are being evaluated, by the number of their trial."""


def policies_under_way(running: Running) -> dict[Any, int]:
    """Return the trials of what is being evaluated, by the key of their policy."""
    return {candidate.policy.key: number for number, candidate in running.items()}


class GenerationStep(Protocol):
    """A source of candidates."""

    def propose(self, running: Running) -> Candidate | None:
        """Return what is to be evaluated beside what is ``running``; ``None`` where the step has nothing now."""
        ...

    def observe(self, candidate: Candidate, outcome: Outcome) -> None:
        """Take in how one of the step's own candidates came out."""
        ...


class Source(Protocol):
    """A source of networks that nobody has tried."""

    def suggest(self, running: Running) -> Suggestion | None:
        """Return what to try beside what is ``running``; ``None`` where the source has nothing now."""
        ...
