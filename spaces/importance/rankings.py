"""Rankings of every group's channels by every criterion, computed once for a network."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ...errors import InputError, describe
from ..graph.groups import Graph, Group
from .criteria import CRITERIA, Criterion, Statistics
from .samples import Samples
from .statistics import gather


@dataclass(frozen=True)
class Rankings:
    """For each criterion and group: all channels, the one most worth keeping first."""

    order: Mapping[str, Mapping[str, tuple[int, ...]]]
    importance: Mapping[str, Mapping[str, tuple[float, ...]]] = field(default_factory=dict)
    """For each criterion and group: the channels' scores over the group's mean, in the same order, so that groups can
    be held against each other; empty in what an earlier Espalier wrote, and for groups whose scores have no mean."""

    def of(self, criterion: str, group: str) -> tuple[int, ...]:
        """Return the ranking of one group's channels.

        Raises:
            InputError: that criterion was not computed.
        """
        if criterion not in self.order:
            raise InputError(
                describe(
                    f"no ranking by {criterion!r}",
                    expected=f"one of {', '.join(self.order)}",
                    remedy="Name the criterion when ranking.",
                )
            )
        return self.order[criterion][group]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"version": 1, "order": _plain(self.order), "importance": _plain(self.importance)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Rankings:
        """Rebuild from :meth:`to_dict`'s data."""
        order = {c: {g: tuple(r) for g, r in gs.items()} for c, gs in data["order"].items()}
        importance = {c: {g: tuple(r) for g, r in gs.items()} for c, gs in data.get("importance", {}).items()}
        return cls(order, importance)


def rank(
    model: nn.Module, graph: Graph, criteria: Iterable[str], *, samples: Samples | None = None, seed: int = 0
) -> Rankings:
    """Rank the channels of every group by every criterion.

    Where a criterion cannot tell a group's channels apart (no BatchNorm for ``bn_scale``, no gradient that is not
    zero), ``l2`` stands in, with a warning.

    Args:
        model: the dense network; left as it is.
        graph: its trace.
        criteria: names of criteria.
        samples: needed by criteria that look at gradients or activations; each is looked at once for each kind of need.
        seed: of the criterion ``random``.

    Raises:
        UnknownNameError: a criterion is unknown.
        InputError: a criterion needs samples and got none.
    """
    names = tuple(dict.fromkeys(criteria))
    needy = [n for n in names if CRITERIA.get(n).needs]
    if needy and samples is None:
        raise InputError(
            describe(f"criterion {needy[0]!r} without samples", expected="training samples", remedy="Pass samples=.")
        )
    statistics = gather(model, frozenset().union(*(CRITERIA.get(n).needs for n in names)), samples, seed=seed)
    scores = {name: _scores_by_group(name, graph, statistics) for name in names}
    return Rankings(
        {name: {group: _order(each) for group, each in found.items()} for name, found in scores.items()},
        {name: {group: _importance(each) for group, each in found.items()} for name, found in scores.items()},
    )


def _plain(each: Mapping[str, Mapping[str, tuple[Any, ...]]]) -> dict[str, Any]:
    return {criterion: {group: list(found) for group, found in groups.items()} for criterion, groups in each.items()}


def _order(scores: torch.Tensor) -> tuple[int, ...]:
    return tuple(torch.argsort(scores, descending=True, stable=True).tolist())


def _importance(scores: torch.Tensor) -> tuple[float, ...]:
    ordered = scores.double().sort(descending=True, stable=True).values
    mean = float(ordered.mean())
    return tuple(round(float(score) / mean, 6) for score in ordered) if math.isfinite(mean) and mean > 0 else ()


def _scores_by_group(name: str, graph: Graph, statistics: Statistics) -> dict[str, torch.Tensor]:
    stand_in = CRITERIA.get("l2")
    scores = {group.name: _telling_scores(CRITERIA.get(name), group, statistics) for group in graph.groups}
    lacking = [group for group, found in scores.items() if found is None]
    if lacking:
        warnings.warn(
            f"Criterion {name!r} ranks {len(lacking)} of {len(graph)} groups by l2: they lack what it looks at "
            f"({', '.join(lacking[:3])}, ...). Leave it out of the criteria to avoid duplicates of l2.",
            stacklevel=3,
        )
    return {
        group.name: stand_in.scores(group, statistics) if (found := scores[group.name]) is None else found
        for group in graph.groups
    }


def _telling_scores(criterion: Criterion, group: Group, statistics: Statistics) -> torch.Tensor | None:
    """Return the scores of a group's channels, or ``None`` where they tell no channel from another."""
    if not criterion.applies(group, statistics):
        return None
    scores = criterion.scores(group, statistics)
    telling = bool(scores.isfinite().all()) and bool((scores != scores[0]).any())
    return scores if telling else None
