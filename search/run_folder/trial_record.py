"""One trial of a run, read back from the study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import optuna

from ...errors import InputError, RunFolderError, describe
from ...evaluators.configuration import Configuration
from ...evaluators.evaluation import Evaluation
from ...jsonfile import read_json
from ...spaces.policy import Policy
from .origin import Origin

State = Literal["complete", "failed", "duplicate", "abandoned", "rejected", "running"]

ORIGIN = "origin"
REASON = "reason"
EVALUATION = "evaluation"
DUPLICATE_OF = "duplicate_of"
RETRY_OF = "retry_of"
RETRIES = "retries"
ABANDONED = "abandoned"
PREDICTED = "predicted"
RUNG = "rung"
BEGUN = "begun"
"""Set on what is tried again as it is handed out: what a kill took before that cannot be what killed the search."""
MAX_RETRIES = 3
"""How often a trial is tried again that was being evaluated when its search was killed."""


@dataclass(frozen=True)
class TrialRecord:
    """What was tried, where it came from and how it ended."""

    number: int
    state: State
    """``duplicate``: its policy was evaluated before (``duplicate_of``) and not again; ``abandoned``: its search was
    killed or interrupted meanwhile, and its policy is tried again by a later trial; ``rejected``: it was predicted not
    to pay, and not evaluated."""
    origin: Origin
    """As a text ``dense``, ``path 1``, ``uniform 0.5``, ``given 1`` (by the user), ``rung 1, trial 12``, ``refinement,
    trial 4``, ``level and temperature``, ``stages`` or ``sampler``."""
    configuration: Configuration | None
    """``None`` unless complete."""
    reason: str | None
    """Why it failed or was abandoned."""
    started: float | None
    """Epoch seconds."""
    finished: float | None
    """Epoch seconds."""
    seconds: Mapping[str, float]
    """Wall time by step: ``prune``, ``train``, ``validate``, ``cost``."""
    duplicate_of: int | None = None
    retry_of: int | None = None
    predicted: tuple[float, float, float] | None = None
    """Latency in ms with the ends of its interval, as predicted before the evaluation; ``None`` where it was not."""
    rung: int | None = None
    """Of the ladder of fidelities, 0 the lowest; ``None`` for what is trained whatever others come to."""

    @classmethod
    def of(cls, trial: optuna.trial.FrozenTrial, folder: Path) -> TrialRecord:
        """Read the record of ``trial``; its policy comes from ``folder``.

        Raises:
            RunFolderError: the policy of a complete trial is absent or torn.
        """
        attributes = trial.user_attrs
        state = state_of(trial)
        evaluation = evaluation_of(trial)
        complete = state == "complete" and evaluation is not None
        return cls(
            number=trial.number,
            state=state,
            origin=Origin.from_stored(attributes.get(ORIGIN)),
            configuration=read_configuration(trial.number, evaluation, folder) if complete and evaluation else None,
            reason=reason_of(trial),
            started=_epoch(trial.datetime_start),
            finished=_epoch(trial.datetime_complete),
            seconds=evaluation.seconds if evaluation else {},
            duplicate_of=attributes.get(DUPLICATE_OF),
            retry_of=attributes.get(RETRY_OF),
            predicted=tuple(attributes[PREDICTED]) if PREDICTED in attributes else None,
            rung=attributes.get(RUNG),
        )


def state_of(trial: optuna.trial.FrozenTrial) -> State:
    """Return how ``trial`` stands, in the words of a run."""
    if not trial.state.is_finished():
        return "running"
    if DUPLICATE_OF in trial.user_attrs:
        return "duplicate"
    if trial.state == optuna.trial.TrialState.COMPLETE:
        return "complete"
    if trial.state == optuna.trial.TrialState.PRUNED:
        return "rejected"
    return "abandoned" if _abandoned(trial.user_attrs) else "failed"


def reason_of(trial: optuna.trial.FrozenTrial) -> str | None:
    """Return why ``trial`` failed or was abandoned."""
    if trial.state == optuna.trial.TrialState.PRUNED:
        return trial.user_attrs.get(REASON)
    if trial.state != optuna.trial.TrialState.FAIL:
        return None
    return trial.user_attrs.get(REASON, "its search was killed while it ran")


def evaluation_of(trial: optuna.trial.FrozenTrial) -> Evaluation | None:
    """Return what ``trial`` was evaluated to, if it was."""
    stored = trial.user_attrs.get(EVALUATION)
    return None if stored is None else Evaluation(**stored)


def read_configuration(number: int, evaluation: Evaluation, folder: Path) -> Configuration:
    """Return the configuration of trial ``number``; its weights are named where their file exists."""
    weights = weights_name(number)
    return Configuration(
        trial=number,
        policy=read_policy(folder / policy_name(number)),
        evaluation=evaluation,
        weights=weights if (folder / weights).exists() else None,
    )


def read_policy(path: Path) -> Policy:
    """Read one ``policies/N.json``.

    Raises:
        RunFolderError: it is absent, torn or malformed.
    """
    try:
        return Policy.from_dict(read_json(path))
    except RunFolderError:
        raise
    except InputError as error:
        raise RunFolderError(
            describe(f"{path} is no policy ({error})", expected="what Espalier wrote", remedy="Restore it from a copy.")
        ) from error


def policy_name(number: int) -> str:
    """Return where a trial's policy lies in its run folder."""
    return f"policies/{number}.json"


def weights_name(number: int) -> str:
    """Return where a trial's weights lie in its run folder, if they were kept."""
    return f"weights/{number}.safetensors"


def _abandoned(attributes: Mapping[str, Any]) -> bool:
    # Nobody is left to write a reason for a trial that died with its search.
    last_try = attributes.get(RETRIES, 0) >= MAX_RETRIES and BEGUN in attributes
    return (REASON not in attributes and not last_try) or bool(attributes.get(ABANDONED))


def _epoch(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
