"""Rankings of every group's channels by every criterion, computed once for a network."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import InputError, describe
from .criteria import CRITERIA, Criterion, Evidence
from .evidence import gather
from .groups import Graph, Group
from .samples import Samples


@dataclass(frozen=True)
class Rankings:
    """For each criterion and group: all channels, the one most worth keeping first."""

    order: Mapping[str, Mapping[str, tuple[int, ...]]]

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
        return {"version": 1, "order": {c: {g: list(r) for g, r in gs.items()} for c, gs in self.order.items()}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Rankings:
        """Rebuild from :meth:`to_dict`'s data."""
        return cls({c: {g: tuple(r) for g, r in gs.items()} for c, gs in data["order"].items()})


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
    evidence = gather(model, frozenset().union(*(CRITERIA.get(n).needs for n in names)), samples, seed=seed)
    return Rankings({name: _rank_groups(name, graph, evidence) for name in names})


def _rank_groups(name: str, graph: Graph, evidence: Evidence) -> dict[str, tuple[int, ...]]:
    stand_in = CRITERIA.get("l2")
    scores = {group.name: _telling_scores(CRITERIA.get(name), group, evidence) for group in graph.groups}
    lacking = [group for group, found in scores.items() if found is None]
    if lacking:
        warnings.warn(
            f"Criterion {name!r} ranks {len(lacking)} of {len(graph)} groups by l2: they lack what it looks at "
            f"({', '.join(lacking[:3])}, ...). Leave it out of the criteria to avoid duplicates of l2.",
            stacklevel=3,
        )
    rankings = {}
    for group in graph.groups:
        found = scores[group.name]
        chosen = stand_in.scores(group, evidence) if found is None else found
        rankings[group.name] = tuple(torch.argsort(chosen, descending=True, stable=True).tolist())
    return rankings


def _telling_scores(criterion: Criterion, group: Group, evidence: Evidence) -> torch.Tensor | None:
    """Return the scores of a group's channels, or ``None`` where they tell no channel from another."""
    if not criterion.applies(group, evidence):
        return None
    scores = criterion.scores(group, evidence)
    telling = bool(scores.isfinite().all()) and bool((scores != scores[0]).any())
    return scores if telling else None
