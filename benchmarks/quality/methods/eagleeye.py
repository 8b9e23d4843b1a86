"""Random widths judged by adaptive BatchNorm; the best at each size is fine-tuned.

Li et al., "EagleEye: Fast Sub-net Evaluation for Efficient Neural Network Pruning", ECCV 2020, arXiv:2007.02491.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from ..base import METHODS, Candidate
from ..cutting import Cutter, rounded
from ..levels import LEVELS, distinct, trained_from_dense
from ..setting import Setting

SEARCH_SHARE = 0.25
"""Of the budget that goes into judging random widths."""
PROBE_SAMPLES = 1000
SLACK = 0.06
"""How far a random network's share of channels may be from the level's."""
MOST = 0.875


class EagleEye:
    """Six sizes; at each the best of many random networks."""

    description = "EagleEye-like: the best of random widths by recalibrated BatchNorm; six levels, each from the dense"

    def search(self, setting: Setting) -> Iterator[Candidate]:
        """Yield the six winners."""
        cutter = Cutter.of(setting.dense, setting.example_input)
        generator = random.Random(setting.seed)
        best: dict[float, tuple[float, dict[str, int]]] = {}
        while setting.budget.used < SEARCH_SHARE * setting.budget.seconds or len(best) < len(LEVELS):
            for ratio in LEVELS:
                widths = _draw(cutter, ratio, generator)
                model = setting.recalibrate(cutter.cut(setting.dense, widths))
                accuracy = setting.validate(model, limit=PROBE_SAMPLES)
                if ratio not in best or accuracy > best[ratio][0]:
                    best[ratio] = accuracy, widths
        levels = distinct((f"best of random {ratio:.3f}", best[ratio][1]) for ratio in LEVELS)
        yield from trained_from_dense(setting, cutter, levels)


def _draw(cutter: Cutter, ratio: float, generator: random.Random) -> dict[str, int]:
    """Return random widths that remove about ``ratio`` of all channels, the nearest of many draws."""
    total = sum(cutter.channels.values())
    nearest: tuple[float, dict[str, int]] = (1.0, cutter.dense)
    for _ in range(1000):
        centre = generator.uniform(0.0, min(MOST, 2 * ratio))
        ratios = (min(max(generator.gauss(centre, 0.25), 0.0), MOST) for _ in cutter.channels)
        widths = {n: rounded(c * (1 - r), c) for (n, c), r in zip(cutter.channels.items(), ratios, strict=True)}
        gap = abs(1 - sum(widths.values()) / total - ratio)
        nearest = min(nearest, (gap, widths), key=lambda found: found[0])
        if gap <= SLACK:
            return widths
    return nearest[1]


METHODS.add("eagleeye", EagleEye())
