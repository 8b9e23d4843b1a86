"""What was removed? Kept channels per group, frozen groups, and each layer's latency before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...evaluators.configuration import Configuration
from ...spaces.policy import Choice
from ...spaces.pruning_types import PRUNING_TYPES
from .. import formatting as fmt
from .networks import latency_words, tag_words

if TYPE_CHECKING:
    from ...evaluators.hardware.base import LayerCost
    from ...evaluators.request import FinishedNetwork
    from ...search.run_folder import Run


def removed(run: Run) -> dict[str, Any]:
    """Return the groups, the frozen ones with their reasons, and for each front member what it keeps."""
    groups = run.graph_summary.groups
    dense = run.finished.get(None)
    return {
        "groups": [{"name": g.name, "of": g.channels} for g in groups],
        "frozen": [{"name": f.name, "channels": f.channels, "reason": f.reason} for f in run.graph_summary.frozen],
        "members": [_member(c, run, dense) for c in run.front.configurations],
        "dense_source": None if dense is None else latency_words(dense.evaluation.latency_source, None),
    }


def _member(c: Configuration, run: Run, dense: FinishedNetwork | None) -> dict[str, Any]:
    groups, own = run.graph_summary.groups, run.finished.get(c.trial)
    tags = tag_words(c.tags, run.measure)
    choices = [c.policy.choices.get(g.name, Choice.keep_all(g.channels)) for g in groups]
    # Where single weights are zeroed, all channels stay.
    kept = [g.channels if _zeroes(choice) else choice.kept for g, choice in zip(groups, choices, strict=True)]
    total, left = sum(g.channels for g in groups), sum(kept)
    zeroed = sum(map(_zeroes, choices))
    return {
        "trial": c.trial,
        "label": f"Trial {c.trial}" + (f" \u2013 {tags}" if tags else ""),
        "selected": "knee" in c.tags,
        "kept": kept,
        "shares": [1 - choice.sparsity for choice in choices],
        "texts": [_text(choice) for choice in choices],
        "criteria": sorted({choice.criterion for choice in c.policy.choices.values() if choice.criterion}),
        "summary": _summary(left, total, zeroed),
        "layers": _layers(own, dense),
        "together": _together(own, dense),
    }


def _zeroes(choice: Choice) -> bool:
    return PRUNING_TYPES.get(choice.type).zeroes


def _text(choice: Choice) -> str:
    return PRUNING_TYPES.get(choice.type).words(choice) if _zeroes(choice) else f"{choice.kept} of {choice.of}"


def _summary(left: int, total: int, zeroed: int) -> str:
    if not total:
        return ""
    weights = f"; single weights zeroed in {fmt.plural(zeroed, 'group')}" if zeroed else ""
    return f"{left} of {total} prunable channels kept ({fmt.percent(left / total)}){weights}"


def _layers(own: FinishedNetwork | None, dense: FinishedNetwork | None) -> list[dict[str, Any]]:
    if own is None or dense is None:
        return []
    after, before_all = _by_layer(own.layers), _by_layer(dense.layers)
    slow = max((value for value in before_all.values() if value is not None), default=0.0) >= 1
    scale, unit = (1, "ms") if slow else (1000, "\u00b5s")
    return [
        {
            "name": name,
            "before": before,
            "after": after.get(name),
            "text": _before_after(before, after.get(name), scale, unit),
        }
        for name, before in before_all.items()
        if before is not None
    ]


def _by_layer(layers: Sequence[LayerCost]) -> dict[str, float | None]:
    """Return the latency of each layer; the kernels of one layer add up."""
    total: dict[str, float | None] = {}
    for layer in layers:
        previous = total.get(layer.layer, 0.0)
        total[layer.layer] = None if previous is None or layer.latency_ms is None else previous + layer.latency_ms
    return total


def _together(own: FinishedNetwork | None, dense: FinishedNetwork | None) -> str:
    """Return what all layers take together beside what the network takes: they differ by the profiler's own time."""
    if own is None or dense is None:
        return ""
    sums = _before_after(_sum(dense.layers), _sum(own.layers), 1, "ms")
    wholes = _before_after(dense.metrics.get("latency_ms"), own.metrics.get("latency_ms"), 1, "ms")
    return f"All layers together {sums}; the network as a whole {wholes}."


def _sum(layers: Sequence[LayerCost]) -> float:
    return sum(layer.latency_ms or 0.0 for layer in layers)


def _before_after(before: float | None, after: float | None, scale: int, unit: str) -> str:
    texts = ["?" if value is None else fmt.significant(value * scale) for value in (before, after)]
    return f"{texts[0]} \u2192 {texts[1]}\u202f{unit}"
