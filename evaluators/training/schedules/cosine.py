"""Down to zero along half a cosine: Loshchilov and Hutter, "SGDR", ICLR 2017, arXiv:1608.03983."""

from __future__ import annotations

import math


def cosine(gone: float) -> float:
    """Return the share of the peak once ``gone`` of the way is behind."""
    return 0.5 * (1 + math.cos(math.pi * gone))
