"""How labels pass through each operation."""

from __future__ import annotations

from typing import Any

from .contraction import CONTRACTIONS, PRODUCTS
from .convolution import CONVOLUTIONS
from .crossing import across_joins, guarded, layer_by_layer, settled
from .fake_quantisation import FAKE_QUANTISATIONS
from .fallback import fallback
from .gating import GATES
from .movement import JOINS, MOVEMENTS, move
from .normalisation import NORMALISATIONS
from .numbering import SEARCHES
from .packing import PACKINGS
from .pairing import PAIRINGS
from .pointwise import is_pointwise, pointwise
from .reduction import REDUCTIONS, reduce
from .resampling import RESAMPLINGS
from .rule import Rule
from .scattering import SCATTERINGS

_TABLES = (
    CONTRACTIONS,
    CONVOLUTIONS,
    FAKE_QUANTISATIONS,
    GATES,
    NORMALISATIONS,
    PACKINGS,
    PAIRINGS,
    RESAMPLINGS,
    SCATTERINGS,
    SEARCHES,
)
_ONE_BY_ONE: tuple[Rule, ...] = (move, reduce, fallback)
_LAYERED = frozenset({*NORMALISATIONS, *GATES, *RESAMPLINGS, *SEARCHES})


def rule_for(func: Any) -> Rule:
    """Return the rule of an operation; of an unknown one, the rule that keeps its channels.

    Where a rule does not know what to make of its arguments, nothing of them may be removed.
    """
    return guarded(_followed(func))


def _followed(func: Any) -> Rule:
    name = func.overloadpacket.__name__.rstrip("_")
    rule = _rule(func, name)
    if name in JOINS:
        return across_joins(rule)
    if rule is pointwise or rule in PRODUCTS:
        return rule
    return layer_by_layer(rule) if rule in _ONE_BY_ONE or name in _LAYERED else settled(rule)


def _rule(func: Any, name: str) -> Rule:
    for table in _TABLES:
        if name in table:
            return table[name]
    if name in MOVEMENTS:
        return move
    if name in REDUCTIONS:
        return reduce
    if is_pointwise(func):
        return pointwise
    return fallback
