"""How labels pass through each operation."""

from __future__ import annotations

from typing import Any

import torch

from .contraction import CONTRACTIONS
from .convolution import CONVOLUTIONS
from .fallback import fallback
from .gating import GATES
from .movement import MOVEMENTS, move
from .normalisation import NORMALISATIONS
from .packing import PACKINGS
from .pairing import PAIRINGS
from .pointwise import POINTWISE, pointwise
from .reduction import REDUCTIONS, reduce
from .resampling import RESAMPLINGS
from .rule import Rule
from .scattering import SCATTERINGS

_TABLES = (CONTRACTIONS, CONVOLUTIONS, GATES, NORMALISATIONS, PACKINGS, PAIRINGS, RESAMPLINGS, SCATTERINGS)


def rule_for(func: Any) -> Rule:
    """Return the rule of an operation; of an unknown one, the rule that keeps its channels."""
    name = func.overloadpacket.__name__.rstrip("_")
    for table in _TABLES:
        if name in table:
            return table[name]
    if name in MOVEMENTS:
        return move
    if name in REDUCTIONS:
        return reduce
    if torch.Tag.pointwise in func.tags or name in POINTWISE:
        return pointwise
    return fallback
