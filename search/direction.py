"""Whether a metric seems to improve in the wrong direction: a network cut to its smallest should be worse."""

from __future__ import annotations

import math

from torch import nn

from ..evaluators.task.measure import Measure
from ..evaluators.task.task import Task
from ..evaluators.training.fidelity import PROBE_SAMPLES
from ..evaluators.training.scoring import score
from ..spaces.apply import prune
from ..spaces.importance.rankings import Rankings
from ..spaces.inputs import network_channels_last
from ..spaces.search_space import SearchSpace

NOISE = 0.02
"""A score that is better by no more than this share of the dense one may be so by chance."""


def doubt_direction(
    model: nn.Module, task: Task, space: SearchSpace, rankings: Rankings, measure: Measure
) -> str | None:
    """Return a warning where the network scores better once it is cut to its smallest, untrained; else ``None``.

    Both are looked at on at most ``PROBE_SAMPLES`` validation samples, so that it takes about as long as two probes.
    """
    kinds = {kind for group in space.graph for kind in space.offered(group)}
    kind = next((name for name in ("channel", "block") if name in kinds), None)
    if kind is None:
        return None
    smallest = network_channels_last(prune(model, space.graph, space.uniform(kind, 0), rankings=rankings))
    before = score(model, task, task.validation, limit=PROBE_SAMPLES)
    after = score(smallest, task, task.validation, limit=PROBE_SAMPLES)
    if -measure.loss(after, before) <= _noise(before, measure):
        return None
    other = "minimize" if measure.higher_is_better else "maximize"
    return (
        f"{measure.name} improves from {before:.4g} to {after:.4g} when the network is cut to its smallest without any "
        f'training: if better is {"lower" if measure.higher_is_better else "higher"}, say direction="{other}" in the '
        f"task (now {measure.direction}); otherwise check that the network given is trained"
    )


def _noise(before: float, measure: Measure) -> float:
    if measure.share and 0 <= before <= 1:
        return max(NOISE, 2 * math.sqrt(before * (1 - before) / PROBE_SAMPLES))
    return NOISE * abs(before)
