"""The ladder of fidelities: how many candidates stood on each rung, and whether a rung's order is that of the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import formatting as fmt
from ..rank_correlation import rank_correlation

if TYPE_CHECKING:
    from ...search.run_folder import Run, TrialRecord


def ladder(run: Run) -> list[dict[str, Any]]:
    """Return one row for each rung, the lowest first; none where nobody climbed a ladder.

    A rung's correlation is over those that climbed from it, the best of it: what it says of the others is less.
    """
    trials = [t for t in run.trials if t.rung is not None and t.configuration is not None and t.state == "complete"]
    highest = max((t.rung or 0 for t in trials), default=-1)
    return [_row(trials, rung) for rung in range(highest + 1)]


def _row(trials: list[TrialRecord], rung: int) -> dict[str, Any]:
    accuracies: dict[int | None, float | None] = {t.number: _accuracy(t) for t in trials if t.rung == rung}
    climbed = [(accuracies.get(_from(t)), _accuracy(t)) for t in trials if t.rung == rung + 1]
    pairs = [(before, after) for before, after in climbed if before is not None and after is not None]
    rank = rank_correlation([before for before, _ in pairs], [after for _, after in pairs])
    return {
        "rung": rung,
        "samples": _samples(trials, rung),
        "candidates": len(accuracies),
        "climbed": len(climbed),
        "rank": fmt.NOT_MEASURED if rank is None else f"{rank:.2f}",
    }


def _samples(trials: list[TrialRecord], rung: int) -> int:
    """Return the training of their own that the candidates of a rung have had."""
    known: dict[int | None, TrialRecord] = {t.number: t for t in trials}
    total = 0
    found = next((t for t in trials if t.rung == rung), None)
    while found is not None and found.configuration is not None:
        total += found.configuration.samples
        found = known.get(_from(found)) if found.rung else None
    return total


def _from(trial: TrialRecord) -> int | None:
    """Return the trial of the rung below."""
    return trial.origin.trial


def _accuracy(trial: TrialRecord) -> float | None:
    accuracy = None if trial.configuration is None else trial.configuration.metrics.get("accuracy")
    return accuracy if fmt.known(accuracy) else None
