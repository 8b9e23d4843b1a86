"""A comparison as one HTML file: the fronts overlaid, the table below."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from ..evaluators.configuration import Configuration
from . import formatting as fmt
from .comparison import Comparison, Entry
from .page import finite, render

_SCRIPTS = ("theme.js", "plot.js", "compare.js")


def comparison_html(comparison: Comparison) -> str:
    """Return the comparison as HTML text."""
    cost, measure = comparison.cost.name, comparison.measure
    figure = {
        "x": cost,
        "x_label": fmt.label(cost),
        "y_label": fmt.label("accuracy", measure),
        "unit": measure.unit,
        "share": measure.share,
        "sign": -measure.sign,
        "runs": [
            {
                "name": entry.name,
                "points": [_point(c, entry, cost) for c in entry.run.front.configurations],
                "dense": {"x": entry.run.dense.metrics.get(cost), "y": entry.run.dense.metrics.get("accuracy")},
            }
            for entry in comparison.entries
        ],
    }
    return render(
        "compare.html.j2",
        scripts=_SCRIPTS,
        title=comparison.task,
        header=comparison.header(),
        rows=comparison.rows(),
        notes=comparison.notes,
        differences=comparison.devices,
        x_label=fmt.label(cost),
        y_label=fmt.inline("accuracy", measure),
        reference=[(fmt.inline(n, measure), fmt.metric(n, v, measure)) for n, v in comparison.reference_point.items()],
        data=finite({"comparison": figure}),
        version=metadata.version("espalier"),
    )


def _point(configuration: Configuration, entry: Entry, cost: str) -> dict[str, Any]:
    metrics = configuration.metrics
    names = dict.fromkeys(("accuracy", "test_accuracy", cost, "size_bytes"))
    return {
        "x": metrics.get(cost),
        "y": metrics.get("accuracy"),
        "title": f"{entry.name}, trial {configuration.trial}",
        "lines": [
            f"{fmt.label(n, entry.run.measure)}: {fmt.metric(n, metrics.get(n), entry.run.measure)}"
            for n in names
            if fmt.known(metrics.get(n))
        ],
    }
