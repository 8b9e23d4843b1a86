"""A run in which nothing succeeded says so."""

from __future__ import annotations

from collections import Counter

from ..errors import EvaluationError, describe
from ..spaces.policy import Policy
from .run_folder import Run


def prunes(policy: Policy) -> bool:
    """Return whether a policy takes anything from the network as it was brought."""
    return any(choice.type != "none" for choice in policy.choices.values())


def check_success(run: Run) -> None:
    """Check that at least one trial came to what was wanted: a network pruned and, where the run trains, trained.

    The whole network succeeds by itself, and so do candidates that no training has reached yet.

    Raises:
        EvaluationError: trials failed, and none that was to be trained succeeded.
    """
    failed = [trial for trial in run.trials if trial.state == "failed"]
    done = [
        trial.configuration for trial in run.trials if trial.state == "complete" and trial.configuration is not None
    ]
    pruned = [c for c in done if prunes(c.policy)]
    trained = [c for c in pruned if c.samples > 0]
    if not failed or (trained if run.info.samples > 0 else pruned):
        return
    reason, count = Counter(str(trial.reason) for trial in failed).most_common(1)[0]
    kind = "every trial that was trained" if pruned else "every trial"
    raise EvaluationError(
        describe(
            f"{kind} failed: {len(failed)} of {len(failed) + len(done)}, most often ({count}) with: {reason}",
            expected="pruned networks that can be fine-tuned and scored",
            remedy="Mend the task, then start a new run.",
        )
    )
