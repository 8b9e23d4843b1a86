"""A threshold on sensitivity, as in FastNAS: each group alone is pruned as far as its own loss stays below a threshold.

After the description of FastNAS in NVIDIA's Model Optimizer documentation (nvidia.github.io/Model-Optimizer): the score
of each width is taken with the others left whole, made monotonic, and one threshold picks all widths at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..base import METHODS, Candidate
from ..cutting import Cutter, choices
from ..levels import LEVELS, distinct, trained_from_dense
from ..setting import Setting

PROBE_SAMPLES = 1000
"""Validation samples that a sensitivity is taken on."""

Drops = Mapping[str, Mapping[int, float]]
"""Accuracy lost by group and width kept."""


class FastNAS:
    """Six thresholds, each network cut from the dense one."""

    description = "FastNAS-like: one threshold on each layer's own loss; six levels, each from the dense network"

    def search(self, setting: Setting) -> Iterator[Candidate]:
        """Yield the networks of the thresholds that come nearest to six sizes."""
        cutter = Cutter.of(setting.dense, setting.example_input)
        drops = sensitivities(setting, cutter)
        options = [(f"threshold {t:.3f}", widths(drops, t)) for t in thresholds(drops)]
        levels = distinct(min(options, key=lambda o: abs(_ratio(cutter, o[1]) - ratio)) for ratio in LEVELS)
        yield from trained_from_dense(setting, cutter, levels)


def sensitivities(setting: Setting, cutter: Cutter) -> Drops:
    """Return what each width of each group alone costs, BatchNorm recalibrated; fewer channels never cost less."""
    base = setting.validate(setting.dense, limit=PROBE_SAMPLES)
    found: dict[str, dict[int, float]] = {}
    for name, channels in cutter.channels.items():
        found[name] = {channels: 0.0}
        worst = 0.0
        for width in reversed(choices(channels)[:-1]):
            model = setting.recalibrate(cutter.cut(setting.dense, {name: width}))
            worst = max(worst, base - setting.validate(model, limit=PROBE_SAMPLES))
            found[name][width] = worst
    return found


def thresholds(drops: Drops) -> list[float]:
    """Return the thresholds at which some width changes."""
    return sorted({drop for widths in drops.values() for drop in widths.values()})


def widths(drops: Drops, threshold: float) -> dict[str, int]:
    """Return the smallest width of each group that costs no more than ``threshold``."""
    return {name: min(w for w, drop in each.items() if drop <= threshold) for name, each in drops.items()}


def _ratio(cutter: Cutter, kept: Mapping[str, int]) -> float:
    return 1 - sum(kept.values()) / sum(cutter.channels.values())


METHODS.add("fastnas", FastNAS())
