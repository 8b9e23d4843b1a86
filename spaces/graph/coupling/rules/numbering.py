"""Operations that tell channels by their number or take them one after another: their order decides the result."""

from __future__ import annotations

from typing import Any

import torch

from ...freeze_reasons import FreezeCode
from ..state import Tracker
from ..values import Value, as_activation
from .pointwise import combine
from .rule import Rule, tensors

GIVE_INDICES = frozenset(
    """argmax argmin sort topk multinomial nonzero searchsorted bucketize kthvalue _unique _unique2 unique_dim
    unique_consecutive""".split()
)
"""Operations that are used for the indices that they give, or take one as the k-th value."""
GIVE_BOTH = frozenset("max min median nanmedian mode".split())
"""Operations whose indices most callers throw away."""
IN_ORDER = frozenset(
    "cumsum cumprod logcumsumexp cummax cummin sort topk roll _fft_c2c _fft_r2c _fft_c2r tril triu".split()
)
_WINDOWED = ("upsample_", "_upsample_", "max_pool", "adaptive_avg_pool", "_adaptive_avg_pool", "lp_pool")
"""Beginnings of the names of operations that run over the last dimensions of ``(N, C, ...)``."""


def is_windowed(name: str) -> bool:
    """Return whether an operation moves a window over the last dimensions of ``(N, C, ...)``."""
    return name.startswith(_WINDOWED)


def why_not(name: str) -> FreezeCode:
    """Return why channels that an operation without a rule runs over cannot go."""
    name = name.rstrip("_")
    if name in GIVE_INDICES | GIVE_BOTH:
        return FreezeCode.INDEX
    return FreezeCode.ORDER if name in IN_ORDER or is_windowed(name) else FreezeCode.UNKNOWN_OPERATION


def _searched(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    """Values looked up among given boundaries stay what they are; what boundaries are made of is told by its number."""
    name = func.overloadpacket.__name__
    given = tensors((args, kwargs))
    found = [tracker.value(t) for t in given[:2]]
    values, boundaries = found if name == "bucketize" and len(found) > 1 else (found[-1], found[0])
    rows = as_activation(boundaries, tracker.atoms)
    told = [rows] if boundaries.labels is None or rows.numel() == 1 else [rows, *values.layers]
    told += [part for part in values.layers if _has_own_boundaries(part, boundaries)]
    for labels in told:
        tracker.atoms.fix(labels.unique().tolist(), FreezeCode.INDEX.because(operation=name))
    return [combine(tracker, [values], tuple(out.shape))]


def _has_own_boundaries(labels: torch.Tensor, boundaries: Value) -> bool:
    """Return whether each row of values has boundaries of its own, and rows are channels."""
    return len(boundaries.shape) > 1 and any(size > 1 for size in labels.shape[:-1])


SEARCHES: dict[str, Rule] = {"searchsorted": _searched, "bucketize": _searched}
