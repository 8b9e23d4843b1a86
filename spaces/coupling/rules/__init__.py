"""How labels pass through each operation."""

from __future__ import annotations

from typing import Any

from .contraction import CONTRACTIONS
from .convolution import CONVOLUTIONS
from .fake_quantisation import FAKE_QUANTISATIONS
from .fallback import fallback
from .gating import GATES
from .movement import MOVEMENTS, move
from .normalisation import NORMALISATIONS
from .packing import PACKINGS
from .pointwise import is_pointwise, pointwise
from .reduction import REDUCTIONS, reduce
from .rule import Rule


def rule_for(func: Any) -> Rule:
    """Return the rule of an operation; of an unknown one, the rule that keeps its channels."""
    name = func.overloadpacket.__name__.rstrip("_")
    for table in (CONTRACTIONS, CONVOLUTIONS, FAKE_QUANTISATIONS, GATES, NORMALISATIONS, PACKINGS):
        if name in table:
            return table[name]
    if name in MOVEMENTS:
        return move
    if name in REDUCTIONS:
        return reduce
    if is_pointwise(func):
        return pointwise
    return fallback
