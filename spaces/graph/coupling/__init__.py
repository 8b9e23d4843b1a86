"""Which channels of a network can only be removed together.

The network runs once with a label beside every element. Operations that move elements about (views, permutations,
concatenations, padding, windows) are applied to the labels as they are to the elements; where two labels meet in one
place they are united; weights read the labels of what comes in and make new ones. What remains is the dependency graph
of Fang et al. ("DepGraph", CVPR 2023, arXiv:2301.12900), down to single indices, of whatever the forward pass does.
"""

from __future__ import annotations

from .atoms import Key
from .state import Tracker
from .track import Seen, follow, track

__all__ = ["Key", "Seen", "Tracker", "follow", "track"]
