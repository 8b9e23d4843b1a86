"""Sequences of several lengths laid end to end, as recurrent layers take them."""

from __future__ import annotations

from typing import Any

from ...freeze_reasons import FreezeCode
from ..state import Tracker
from ..values import Value, as_activation
from .rule import Rule, opaque


def _pack(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    """Keep the labels of the last dimension; where those of time or batch differ, nothing is known."""
    labels = as_activation(tracker.value(args[0]), tracker.atoms)
    if labels.numel() != labels.shape[-1]:
        tracker.atoms.fix(labels.unique().tolist(), FreezeCode.PACKED.because())
        return opaque(out)
    kept = labels.view([1] * (out[0].dim() - 1) + [-1])
    return [Value(tuple(out[0].shape), kept), Value.constant(out[1].shape)]


PACKINGS: dict[str, Rule] = {"_pack_padded_sequence": _pack}
