"""What a search used up, by its own clock and in training: a baseline at equal budget gets as much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from .event_log import EventLog
from .trial_record import evaluation_of, state_of

SEARCHED = "searched"


@dataclass(frozen=True)
class UsedBudget:
    """What was used up."""

    seconds: float
    """By the clock of the search's budget, those of all its workers added up."""
    samples: int
    """Training samples of all complete trials."""
    trials: int
    """How many are complete: another number says that the search has gone on."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def spent(study: optuna.Study, seconds: float) -> UsedBudget:
    """Return what the search of ``study`` has used up, given its ``seconds``."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    found = [e for t in complete if state_of(t) == "complete" and (e := evaluation_of(t)) is not None]
    return UsedBudget(seconds, sum(evaluation.samples for evaluation in found), len(found))


def settled(events: EventLog, now: UsedBudget) -> UsedBudget:
    """Return what the search used up when its last trial ended, and log it where that was only now.

    A resumed search that has nothing left to try spends time all the same; that is not its budget.
    """
    known = _logged(events.read())
    if known is not None and known.trials == now.trials:
        return known
    events.write(SEARCHED, **now.to_dict())
    return now


def _logged(events: Sequence[dict[str, Any]]) -> UsedBudget | None:
    last = next((event for event in reversed(events) if event["event"] == SEARCHED), None)
    return None if last is None else UsedBudget(last["seconds"], last["samples"], last["trials"])
