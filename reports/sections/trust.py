"""Can I trust it? Latency during the search against latency at the end, rank correlation, generalisation."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...search.run_folder import DOUBT_EVENT
from .. import formatting as fmt
from ..rank_correlation import rank_correlation
from .ladder import ladder
from .networks import Network, dense_network, latency_words, picked
from .on_device import on_device

if TYPE_CHECKING:
    from ...evaluators.configuration import Configuration
    from ...evaluators.request import FinishedNetwork
    from ...search.run_folder import AuditedNetwork, Run


STRONG, WEAK = 0.8, 0.4
"""Rank correlations from which on an order before training is called nearly that after it, or a hint of it."""


def trust(run: Run) -> dict[str, Any]:
    """Return what speaks for the numbers and against them."""
    return {
        "latency": latency_agreement(run),
        "predicted": prediction_agreement(run),
        "slower": [{"trial": slow, "than": fast} for slow, fast in sorted(run.slower_than.items())],
        "on_device": on_device(run),
        "rungs": rung_correlation(run),
        "ladder": ladder(run),
        "audit": screen_audit(run),
        "gaps": [_gap(n) for n in (dense_network(run), *picked(run))],
        "samples": run.info.samples,
        "score": fmt.inline("accuracy", run.measure),
        "metric": run.measure.name,
        "unit": run.measure.unit,
        "share": run.measure.share,
        "doubt": next((e.get("text") for e in run.events if e["event"] == DOUBT_EVENT), None),
    }


def latency_agreement(run: Run) -> dict[str, Any]:
    """Return, for each network that was timed again at the end, the search's latency and the final one."""
    searched = {t.number: t.configuration for t in run.trials if t.configuration is not None}
    pairs = []
    for number, after in run.finished.items():
        before = None if number is None else searched.get(number)
        pair = None if before is None else _pair(before, after)
        if pair is not None:
            pairs.append(pair)
    differences = [abs(p["after"] / p["before"] - 1) for p in pairs]
    rank = rank_correlation([p["before"] for p in pairs], [p["after"] for p in pairs])
    return {
        "pairs": pairs,
        "median": fmt.percent(statistics.median(differences), 1) if pairs else None,
        "largest": fmt.percent(max(differences), 1) if pairs else None,
        "rank": _correlation(rank),
        "search_source": _sources(list(searched.values())),
        "measured": any(n.evaluation.latency_source == "measured" for n in run.finished.values()),
        "final_source": _sources([n for n in run.finished.values() if n.trial is not None]),
    }


def prediction_agreement(run: Run) -> dict[str, Any]:
    """Return, for each trial that was predicted before it was trained, the prediction and what was measured then."""
    pairs, inside = [], 0
    for trial in run.trials:
        latency = None if trial.configuration is None else trial.configuration.metrics.get("latency_ms")
        if trial.predicted is None or trial.configuration is None or not latency:
            continue
        told, low, high = trial.predicted
        error = trial.configuration.latency_error
        inside += low <= latency <= high
        pairs.append(
            {
                "trial": trial.number,
                "before": told,
                "after": latency,
                "before_error": (high - low) / 2 / told,
                "after_error": error,
            }
        )
    near = [abs(p["after"] / p["before"] - 1) <= 0.1 for p in pairs]
    return {
        "pairs": pairs,
        "within": fmt.percent(sum(near) / len(near), 0) if pairs else None,
        "inside": fmt.percent(inside / len(pairs), 0) if pairs else None,
        "rank": _correlation(rank_correlation([p["before"] for p in pairs], [p["after"] for p in pairs])),
        "rejected": sum(trial.state == "rejected" for trial in run.trials),
    }


def rung_correlation(run: Run) -> dict[str, Any]:
    """Return the pairs of scores after BatchNorm recalibration alone and after fine-tuning, and their correlation.

    Networks that were not trained further, such as the same weights at another precision, would agree with themselves.
    """
    pairs = []
    for trial in run.trials:
        c = trial.configuration
        if c is None or trial.state != "complete" or not c.samples:
            continue
        before, after = c.metrics.get("accuracy_recalibrated"), c.metrics.get("accuracy")
        if before is not None and after is not None and fmt.known(before) and fmt.known(after):
            pairs.append({"trial": trial.number, "before": before, "after": after})
    value = rank_correlation([p["before"] for p in pairs], [p["after"] for p in pairs])
    return {"pairs": pairs, "rank": _correlation(value), "count": len(pairs), "meaning": _meaning(value)}


def screen_audit(run: Run) -> dict[str, Any] | None:
    """Return how many candidates were turned down, measured all the same, and turned down wrongly."""
    audit = run.audit
    if audit is None:
        return None
    share = fmt.percent(audit.wrongly / len(audit.audited)) if audit.audited else fmt.NOT_MEASURED
    wrong = [{"trial": a.trial, "objection": a.objection, "latency": _latency(a)} for a in audit.audited if a.wrongly]
    counts = {"turned_down": audit.turned_down, "audited": len(audit.audited), "wrongly": audit.wrongly}
    return {**counts, "share": share, "wrong": wrong}


def _latency(audited: AuditedNetwork) -> str:
    return fmt.metric("latency_ms", audited.metrics.get("latency_ms"))


def _meaning(rank: float | None) -> str:
    """Say what a rank correlation between the two rungs is good for."""
    if rank is None:
        return "This run cannot tell whether the order before fine-tuning is that after it."
    if rank >= STRONG:
        return "Before fine-tuning the networks stand in nearly the order in which they end."
    if rank >= WEAK:
        return "Before fine-tuning the order is a hint of that in the end, and no more."
    return "Before fine-tuning the order says next to nothing of that in the end."


def _pair(before: Configuration, after: FinishedNetwork) -> dict[str, Any] | None:
    searched, final = before.metrics.get("latency_ms"), after.metrics.get("latency_ms")
    if not searched or not final:
        return None
    errors = {"before_error": before.evaluation.latency_error, "after_error": after.evaluation.latency_error}
    return {"trial": before.trial, "before": searched, "after": final, **errors}


def _sources(networks: Sequence[Configuration | FinishedNetwork]) -> str:
    """Return where the latencies come from, with the largest error of each source."""
    errors: dict[str, float] = {}
    for found in (network.evaluation for network in networks):
        errors[found.latency_source] = max(errors.get(found.latency_source, 0.0), found.latency_error)
    return "; ".join(latency_words(source, error) for source, error in errors.items()) or fmt.NOT_MEASURED


def _gap(network: Network) -> dict[str, Any]:
    return {
        "name": network.name,
        "trial": network.trial,
        "train": network.shown("train_accuracy"),
        "validation": network.shown("accuracy"),
        "test": network.shown("test_accuracy"),
        "gap": _gap_words(network),
    }


def _gap_words(network: Network) -> str:
    """Return how much better the score on training data is: above zero where validation data are harder."""
    return fmt.score_difference(network.gap, network.measure, dense=network.metrics.get("accuracy"))


def _correlation(value: float | None) -> str:
    return "too few points to tell" if value is None else f"{value:.2f}".replace("-", fmt.MINUS)
