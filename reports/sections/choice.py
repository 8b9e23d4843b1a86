"""Which configuration should I take? The front, and the finder that filters it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...evaluators.configuration import Configuration
from ...evaluators.objectives import SCORE, Constraint
from ...evaluators.task.measure import Measure
from .. import formatting as fmt
from ..picks import deciding
from ..violations import violations
from .networks import dense_network, pick_labels, precision_words, tag_words

if TYPE_CHECKING:
    from ...search.run_folder import Run

_COSTS = ("latency_ms", "size_bytes", "macs", "params", "peak_memory_bytes", "energy_mj")
_COLUMNS = ("accuracy", "test_accuracy", "latency_ms", "size_bytes", "macs", "params")
_SHORT = {"accuracy": "Validation", "test_accuracy": "Test"}


def choice(run: Run) -> dict[str, Any]:
    """Return the chart's points, the table's rows and the finder's wishes."""
    (x, size), measure = axes(run), run.measure
    dense = dense_network(run)
    return {
        "x": x,
        "x_label": fmt.label(x),
        "size": size,
        "size_label": fmt.label(size).lower(),
        "points": [_front_point(c, run) for c in run.front.configurations] + _others(run),
        "dense": _point(run, None, dense.metrics, "dense", "Dense", missed=violations(dense.metrics, run)),
        "lines": [_line(c, measure) for c in run.constraints if c.objective.name in (x, SCORE)],
        "objectives": [fmt.inline(o.name, measure) for o in run.objectives],
        "constraints": [fmt.constraint(c, measure) for c in run.constraints],
        "columns": [{"name": n, "label": _SHORT.get(n, fmt.label(n))} for n in _COLUMNS],
        "score": fmt.inline("accuracy", measure),
        "metric": measure.name,
        "y_label": fmt.label("accuracy", measure),
        "unit": measure.unit,
        "share": measure.share,
        "sign": -measure.sign,
        "rows": [_row(c, run) for c in run.front.configurations],
        "misses": _misses(run),
        "wishes": _wishes(run, dense.metrics.get(SCORE)),
        "ranked_by": x,
        "ranked_label": fmt.label(x).lower(),
        "dense_score": dense.metrics.get(SCORE),
    }


def axes(run: Run) -> tuple[str, str]:
    """Return the metric of the chart's horizontal axis and the one shown as the marker's size."""
    x = deciding(run.objectives).name
    names = [o.name for o in run.objectives if not o.is_score] + list(_COSTS)
    return x, next(n for n in names if n != x)


def export_command(run: Run, trial: int) -> str:
    """Return the command that exports a trial."""
    return f"espalier export {shlex.quote(str(run.path))} --pick {trial} --out {shlex.quote(f'export-{trial}')}"


def _front_point(c: Configuration, run: Run) -> dict[str, Any]:
    return _point(run, c.trial, c.metrics, "front", tag_words(c.tags, run.measure), precision_words(run, c))


def _others(run: Run) -> list[dict[str, Any]]:
    on_front = {c.trial for c in run.front.configurations}
    return [_other(c, run) for c in run.configurations if c.trial not in on_front]


def _other(c: Configuration, run: Run) -> dict[str, Any]:
    missed = violations(c.metrics, run)
    kind = "infeasible" if missed else "dominated"
    return _point(run, c.trial, c.metrics, kind, "", precision_words(run, c), missed=missed)


def _misses(run: Run) -> list[dict[str, Any]]:
    """Return what misses a constraint and by how much, the dense network first."""
    named = [("Dense", dense_network(run).metrics), *((f"Trial {c.trial}", c.metrics) for c in run.configurations)]
    found = ((name, violations(metrics, run)) for name, metrics in named)
    return [{"name": name, "texts": list(texts)} for name, texts in found if texts]


def _point(
    run: Run,
    trial: int | None,
    metrics: Mapping[str, float | None],
    kind: str,
    tags: str,
    precision: str = "",
    *,
    missed: Sequence[str] = (),
) -> dict[str, Any]:
    (x, size), measure = axes(run), run.measure
    title = "Dense network" if trial is None else f"Trial {trial}" + (f" \u00b7 {tags}" if tags else "")
    shown = dict.fromkeys(("accuracy", "test_accuracy", x, size, "macs"))
    known = ((n, value) for n in shown if fmt.known(value := metrics.get(n)))
    lines = [f"{fmt.label(n, measure)}: {fmt.metric(n, value, measure)}" for n, value in known]
    return {
        "trial": trial,
        "kind": kind,
        "tags": tags,
        "x": metrics.get(x),
        "y": metrics.get("accuracy"),
        "size": metrics.get(size),
        "title": title,
        "lines": [*lines, *([f"Precision: {precision}"] if precision else []), *(_sentence(text) for text in missed)],
    }


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _line(constraint: Constraint, measure: Measure) -> dict[str, Any]:
    name = constraint.objective.name
    side = "\u2264" if constraint.operator == "<=" else "\u2265"
    return {
        "axis": "y" if name == SCORE else "x",
        "value": constraint.bound,
        "label": f"{fmt.label(name, measure)} {side} {fmt.metric(name, constraint.bound, measure)}",
    }


def _row(c: Configuration, run: Run) -> dict[str, Any]:
    dense, measure = dense_network(run).metrics, run.measure
    labels = pick_labels(measure)
    cells = {
        n: {
            "value": c.metrics.get(n),
            "text": fmt.metric(n, c.metrics.get(n), measure),
            "change": fmt.change(n, c.metrics.get(n), dense.get(n), measure),
        }
        for n in _COLUMNS
    }
    numbers = (cells[n]["text"] + (f" ({cells[n]['change']})" if cells[n]["change"] else "") for n in _COLUMNS[:4])
    short = ("validation", "test", "latency", "size")
    return {
        "trial": c.trial,
        "tags": [labels[tag] for tag in c.tags if tag in labels],
        "precision": precision_words(run, c),
        "cells": cells,
        "metrics": {n: c.metrics.get(n) for n in ("accuracy", *_COSTS)},
        "summary": ", ".join(f"{label} {text}" for label, text in zip(short, numbers, strict=True)),
        "command": export_command(run, c.trial),
    }


def _values(run: Run, name: str) -> list[float]:
    """Return a metric of all front members that have it."""
    return [value for c in run.front.configurations if fmt.known(value := c.metrics.get(name))]


def _wishes(run: Run, dense: float | None) -> list[dict[str, Any]]:
    wishes = []
    losses = [run.measure.loss(value, dense) for value in _values(run, SCORE)] if fmt.known(dense) else []
    if losses and dense is not None:
        wishes.append(_drop_wish(run.measure, losses, dense))
    for name, unit, factor in (("latency_ms", "ms", 1.0), ("size_bytes", "KiB", 1024.0)):
        values = [value / factor for value in _values(run, name)]
        if values:
            wishes.append(cost_wish(name, unit, factor, values))
    return wishes


def _drop_wish(measure: Measure, losses: Sequence[float], dense: float) -> dict[str, Any]:
    """Return the field that limits by how much the score may be worse: in points, or in per cent of the dense one."""
    points = measure.share and 0 <= dense <= 1
    factor = 0.01 if points else (abs(dense) or 1.0) / 100
    worst = max(1.0, math.ceil(max(losses) / factor))
    start = 1.0 if min(losses) <= factor else worst
    words = f"Maximal {measure.name} drop" if measure.higher_is_better else f"Maximal rise of {measure.name}"
    return _wish("drop", words, "points" if points else "% of dense", factor, 0, worst, 0.1, start)


def cost_wish(name: str, unit: str, factor: float, values: Sequence[float]) -> dict[str, Any]:
    """Return the field that limits a cost: from below the least of ``values`` to a number that all of them meet."""
    step = 10 ** math.floor(math.log10(max(max(values) / 100, 1e-6)))
    high = _grid_value(max(values), step)
    low = max(0.0, math.floor(min(values) * 0.8 / step) * step)
    return _wish(name, f"Maximal {fmt.label(name).lower()}", unit, factor, low, high, step, high)


def _grid_value(value: float, step: float) -> float:
    """Return the least multiple of ``step``, as a field shows it, that is not below ``value`` by however little."""
    decimals = _decimals(step)
    steps = math.ceil(value / step)
    while round(steps * step, decimals) < value:
        steps += 1
    return round(steps * step, decimals)


def _decimals(step: float) -> int:
    return max(0, -math.floor(math.log10(step)))


def _wish(
    name: str, label: str, unit: str, factor: float, low: float, high: float, step: float, start: float
) -> dict[str, Any]:
    decimals = _decimals(step)
    numbers = {k: round(v, decimals) for k, v in (("low", low), ("high", high), ("step", step), ("start", start))}
    return {"name": name, "label": label, "unit": unit, "factor": factor, **numbers}
