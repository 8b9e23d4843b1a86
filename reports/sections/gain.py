"""What did we gain? The dense network against the picks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import formatting as fmt
from .networks import Network, cell, dense_network, latency_words, picked

if TYPE_CHECKING:
    from ...search.run_folder import Run

_CARD = ("latency_ms", "size_bytes", "accuracy", "test_accuracy")
_TABLE = (
    "accuracy", "test_accuracy", "latency_ms", "size_bytes", "dense_size_bytes", "macs", "params", "peak_memory_bytes",
    "energy_mj",
)  # fmt: skip


def gain(run: Run) -> dict[str, Any]:
    """Return the headline, one card per network and the table of all metrics."""
    dense, picks = dense_network(run), picked(run)
    networks = [dense, *picks]
    return {
        "headline": headline(dense, picks[0]) if picks else None,
        "headline_pick": f"Trial {picks[0].trial} ({picks[0].name.lower()})" if picks else None,
        "cards": [_card(network, dense) for network in networks],
        "columns": [{"name": n.name, "trial": n.trial, "precision": n.precision} for n in networks],
        "rows": [
            {"label": fmt.label(name, run.measure), "cells": [cell(name, n, dense) for n in networks]}
            for name in _TABLE
            if _worth_a_row(name, networks)
        ],
        "dense_latency": latency_words(dense.evaluation.latency_source, dense.evaluation.latency_error),
        "pick_latency": latency_words(picks[0].evaluation.latency_source, picks[0].evaluation.latency_error)
        if picks
        else None,
        "sparse": _encoded(networks),
        "validation": fmt.label("accuracy", run.measure),
        "test": fmt.inline("test_accuracy", run.measure),
        "has_test": any(fmt.known(n.metrics.get("test_accuracy")) for n in networks),
    }


def _worth_a_row(name: str, networks: list[Network]) -> bool:
    if name == "dense_size_bytes":
        return _encoded(networks)
    return name != "energy_mj" or any(fmt.known(n.metrics.get(name)) for n in networks)


def _encoded(networks: list[Network]) -> bool:
    """Return whether a size is told that leaves zeroed weights out."""
    return any(n.metrics.get("dense_size_bytes", m) != m for n in networks for m in (n.metrics.get("size_bytes"),))


def headline(dense: Network, pick: Network) -> list[dict[str, Any]]:
    """Return the three figures that sum a pick up: speed, size, score; those not measured are left out."""
    figures = []
    speed = fmt.ratio(dense.metrics.get("latency_ms"), pick.metrics.get("latency_ms"))
    if speed:
        figures.append({"value": speed, "label": "as fast as dense"})
    for name, words in (("size_bytes", "size"), ("macs", "multiply-accumulates")):
        change = fmt.change(name, pick.metrics.get(name), dense.metrics.get(name))
        if change:
            figures.append({"value": change, "label": words})
    change = fmt.change("accuracy", pick.metrics.get("accuracy"), dense.metrics.get("accuracy"), dense.measure)
    if change:
        figures.append({"value": change, "label": fmt.inline("accuracy", dense.measure)})
    return figures


def _card(network: Network, dense: Network) -> dict[str, Any]:
    return {
        "name": network.name,
        "trial": network.trial,
        "precision": network.precision,
        "rows": [{"label": fmt.label(name, dense.measure), **cell(name, network, dense)} for name in _CARD],
    }
