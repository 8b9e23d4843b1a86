"""What becomes of trials that were running when their search was killed or interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from .archive import Archive
from .run_folder.trial_record import ABANDONED, DUPLICATE_OF, MAX_RETRIES, ORIGIN, REASON, RETRIES, RETRY_OF


@dataclass(frozen=True)
class Recovery:
    """What was done with the trials of a dead coordinator."""

    adopted: int
    """Evaluated already, only not told."""
    retried: int
    given_up: int
    """Being evaluated in each of several killed searches, so perhaps what killed them."""


def recover(study: optuna.Study, archive: Archive) -> Recovery:
    """Settle every running trial of ``study``; call it while no other coordinator runs."""
    adopted = retried = given_up = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if archive.adopt(trial):
            adopted += 1
            continue
        if DUPLICATE_OF not in trial.user_attrs:
            again = _requeue(study, trial, begun=archive.has_begun(trial))
            retried += again
            given_up += not again
        study.tell(trial.number, state=TrialState.FAIL)
    return Recovery(adopted, retried, given_up)


def abandon(study: optuna.Study, trial: Trial) -> None:
    """End a trial that an interrupt cut short; a later search tries its policy again."""
    trial.set_user_attr(ABANDONED, True)
    trial.set_user_attr(REASON, "interrupted")
    _enqueue_again(study, trial.number, trial.params, trial.user_attrs, retries=trial.user_attrs.get(RETRIES, 0))
    study.tell(trial, state=TrialState.FAIL)


def _requeue(study: optuna.Study, trial: FrozenTrial, *, begun: bool) -> bool:
    # A trial killed while it was asked has part of its parameters, or those that it was enqueued with.
    params = trial.params | trial.system_attrs.get("fixed_params", {})
    retries = trial.user_attrs.get(RETRIES, 0) + begun
    if retries > MAX_RETRIES:
        return False
    _enqueue_again(study, trial.number, params, trial.user_attrs, retries=retries)
    return True


def _enqueue_again(
    study: optuna.Study, number: int, params: Mapping[str, Any], attributes: Mapping[str, Any], *, retries: int
) -> None:
    kept = {ORIGIN: attributes[ORIGIN]} if ORIGIN in attributes else {}
    first = attributes.get(RETRY_OF, number)
    study.enqueue_trial(dict(params), user_attrs={**kept, RETRY_OF: first, RETRIES: retries})
