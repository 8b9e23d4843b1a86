"""The audit of the cost filter: a random share of what it turned down is measured, once the search is over.

Nothing of it is trained. A filter that turns good candidates down would never show otherwise, as they are never seen
again.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import optuna
from optuna.trial import TrialState

from ..errors import EvaluationError
from ..spaces.policy import Policy
from ..spaces.search_space import SearchSpace
from .cost_filter import CostFilter
from .problem import SearchEvaluator
from .run_folder.audit_record import Audit, AuditedNetwork, read_audit
from .run_folder.trial_record import reason_of

SHARE = 0.1
MOST = 8
"""One in ten of the networks turned down is measured, at least one and at most so many: each takes a few tenths of a
second, for itself and for up to three that keep more."""


def audit_cost_filter(
    folder: Path,
    study: optuna.Study,
    space: SearchSpace,
    cost_filter: CostFilter,
    evaluator: SearchEvaluator,
    *,
    seed: int,
) -> Audit | None:
    """Measure a share of what was turned down, and store what was found after each; ``None`` if it was nothing.

    What was measured at an earlier end of the run is not measured again.
    """
    rejected = _rejected(study, space)
    if not rejected:
        return None
    known = read_audit(folder) or Audit(0, ())
    found = replace(known, turned_down=len(rejected))
    count = min(MOST, math.ceil(SHARE * len(rejected)))
    done = {entry.trial for entry in known.audited}
    for trial in [t for t in _drawn(list(rejected), seed) if t not in done][: count - len(done)]:
        policy, objection = rejected[trial]
        entry = _audited(trial, policy, objection, cost_filter, evaluator)
        found = replace(found, audited=(*found.audited, *([] if entry is None else [entry])))
        found.write(folder)
    found.write(folder)
    return found


def _rejected(study: optuna.Study, space: SearchSpace) -> Mapping[int, tuple[Policy, str]]:
    """Return the networks turned down, each once, with the reason, by the first trial that proposed them."""
    found: dict[Policy, tuple[int, str]] = {}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.PRUNED,)):
        found.setdefault(space.policy(trial.params), (trial.number, str(reason_of(trial))))
    return {number: (policy, reason) for policy, (number, reason) in found.items()}


def _drawn(trials: Sequence[int], seed: int) -> list[int]:
    # By digest: a run that goes on draws from more, and those drawn before stay the same.
    return sorted(trials, key=lambda trial: hashlib.sha256(f"{seed}-{trial}".encode()).hexdigest())


def _audited(
    trial: int, policy: Policy, objection: str, cost_filter: CostFilter, evaluator: SearchEvaluator
) -> AuditedNetwork | None:
    try:
        metrics = evaluator.cost(policy).metrics
        right = cost_filter.was_right(policy, lambda other: evaluator.cost(other).metrics, metrics)
    except (EvaluationError, RuntimeError, ValueError):
        return (
            None  # what cannot be built would have failed as a trial too: there is nothing to hold the cost filter to
        )
    return AuditedNetwork(trial, objection, dict(metrics), not right)
