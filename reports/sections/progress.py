"""How did the search go? Hypervolume trial by trial, what became of each trial, where the time went."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ...evaluators.front import Front
from .. import formatting as fmt

if TYPE_CHECKING:
    from ...search.run_folder import Run


def progress(run: Run) -> dict[str, Any]:
    """Return the course of the search."""
    series = hypervolume_series(run)
    failures = Counter(t.reason or "no reason stored" for t in run.trials if t.state == "failed")
    seconds: Counter[str] = Counter()
    for trial in run.trials:
        seconds.update(trial.seconds)
    times = [t for trial in run.trials for t in (trial.started, trial.finished) if t is not None]
    return {
        "series": series,
        "hypervolume": fmt.significant(series[-1]["value"]) if series else fmt.NOT_MEASURED,
        "reference": [
            {"label": fmt.inline(n, run.measure), "text": fmt.metric(n, v, run.measure)}
            for n, v in run.front.reference_point.items()
        ],
        "states": sorted(Counter(t.state for t in run.trials).items()),
        "origins": sorted(Counter(t.origin.family for t in run.trials).items()),
        "failures": failures.most_common(),
        "seconds": [{"step": s, "text": fmt.duration(v)} for s, v in seconds.most_common()],
        "wall": fmt.duration(max(times) - min(times)) if times else fmt.NOT_MEASURED,
        "trials": len(run.trials),
    }


def hypervolume_series(run: Run) -> list[dict[str, Any]]:
    """Return the hypervolume after each completed trial, in the order of their completion, with the time since start.

    All with the latencies that the search saw, so that the last value may differ a little from the final front's.
    """
    done = [t for t in run.trials if t.state == "complete"]
    done.sort(key=lambda t: (t.finished is None, t.finished or 0.0, t.number))
    start = min((t.started for t in run.trials if t.started is not None), default=None)
    front = Front.of((), objectives=run.objectives, dense=run.front.dense, measure=run.measure)
    series: list[dict[str, Any]] = []
    for trial in done:
        found = () if trial.configuration is None else (trial.configuration,)
        front = Front.of(
            (*front.configurations, *found),
            objectives=run.objectives,
            dense=run.front.dense,
            constraints=run.constraints,
            measure=run.measure,
        )
        elapsed = None if start is None or trial.finished is None else trial.finished - start
        series.append({"trial": trial.number, "value": front.hypervolume, "seconds": elapsed})
    return series
