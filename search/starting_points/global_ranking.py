"""All channels of the network in one ranking: the least important go, in whatever group they are.

Scores are divided by their group's mean first, as layers differ in scale; Torch-Pruning's ``global_pruning`` with its
default normaliser does so (Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023, arXiv:2301.12900).
"""

from __future__ import annotations

from collections.abc import Iterable

from ...spaces.policy import Policy
from .base import Known, StartingPoint

SHARES = (0.5, 0.25, 0.75)
"""Of all channels, so many go."""


def global_ladder(known: Known) -> Iterable[StartingPoint]:
    """Yield networks without the least important channels; none where importances are not known."""
    scores = sorted(score for each in known.importance.values() for score in each)
    for share in SHARES if scores else ():
        threshold = scores[round(share * len(scores))]
        yield StartingPoint.of_method("global ranking", share, _above(known, threshold))


def _above(known: Known, threshold: float) -> Policy:
    space = known.space
    kept = {}
    for group in space.graph:
        worth = known.importance.get(group.name)
        if worth:
            # The best channel stays: a layer without any has no output.
            share = max(1, sum(score >= threshold for score in worth)) / len(worth)
            kept[group.name] = group.width_near(1 - share, space.channel_multiple)
    return Policy.from_kept(space.graph, kept, criterion=space.criteria[0])
