"""A figure of all results: fronts and hypervolume over time, one HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.colors import qualitative
from plotly.subplots import make_subplots

from .base import OURS


def write_figure(results: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write the figure: a row for each task and budget, fronts on the left, hypervolume over CPU seconds right."""
    groups: dict[tuple[str, float], list[Mapping[str, Any]]] = {}
    for result in results:
        groups.setdefault((result["task"], result["budget"]), []).append(result)
    titles = [
        title
        for task, budget in sorted(groups)
        for title in (f"{task}, {budget:g} s: fronts of all seeds", "test hypervolume over CPU seconds")
    ]
    figure = make_subplots(rows=len(groups), cols=2, subplot_titles=titles)
    methods = sorted({r["method"] for group in groups.values() for r in group}, key=lambda m: (m != OURS, m))
    colours = dict(zip(methods, ["#111111", *qualitative.Dark24], strict=False))
    named: set[str] = set()
    for row, key in enumerate(sorted(groups), start=1):
        for result in sorted(groups[key], key=lambda r: (r["method"], r["seed"])):
            _add(figure, result, row, colours[result["method"]], named)
        figure.update_xaxes(title_text="latency, of dense", row=row, col=1)
        figure.update_yaxes(title_text="test accuracy", row=row, col=1)
        figure.update_xaxes(title_text="CPU seconds", row=row, col=2)
    figure.update_layout(height=480 * max(1, len(groups)), template="plotly_white")
    figure.write_html(path, include_plotlyjs=True)


def _add(figure: go.Figure, result: Mapping[str, Any], row: int, colour: str, named: set[str]) -> None:
    method = result["method"]
    members = sorted((c for c in result["candidates"] if c["front"]), key=lambda c: c["latency"])
    shown = {"name": method, "legendgroup": method, "showlegend": method not in named}
    named.add(method)
    style = {"color": colour, "width": 3 if method == OURS else 1.5}
    figure.add_trace(
        go.Scatter(
            x=[c["latency"] for c in members],
            y=[c["test"] for c in members],
            text=[c["label"] for c in members],
            mode="lines+markers",
            line={**style, "shape": "hv"},
            **shown,
        ),
        row=row,
        col=1,
    )
    line = [(0.0, 0.0), *result["timeline"], (result["budget"], result["hypervolume"])]
    figure.add_trace(
        go.Scatter(
            x=[p[0] for p in line],
            y=[p[1] for p in line],
            mode="lines",
            line={**style, "shape": "hv"},
            **{**shown, "showlegend": False},
        ),
        row=row,
        col=2,
    )
