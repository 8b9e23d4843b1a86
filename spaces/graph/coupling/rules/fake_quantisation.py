"""Fake quantisation: each element is rounded where it stands; scales for each channel go with the channels.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018,
arXiv:1712.05877.
"""

from __future__ import annotations

from typing import Any

import torch

from ..state import Tracker
from ..values import Source, Value, meet
from .rule import Rule, opaque


def _per_tensor(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    return [tracker.value(args[0]), *opaque(out)[1:]]


def _per_channel(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    return [_beside(tracker, args[0], args[1:3], int(args[3])), *opaque(out)[1:]]


def _observed(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    """Round by a range that is observed at the same time: its ends are buffers beside the scales."""
    by_channel = len(args) > 11 and bool(args[11])
    value = _beside(tracker, args[0], args[3:7], int(args[10])) if by_channel else tracker.value(args[0])
    return [value, *opaque(out)[1:]]


def _beside(tracker: Tracker, given: torch.Tensor, scales: Any, axis: int) -> Value:
    """Return the value of what is rounded with one scale for each index along ``axis``."""
    value, size = tracker.value(given), given.shape[axis]
    parts = [s for scale in scales for s in tracker.value(scale).sources if s.shape == (size,)]
    view = [-1 if d == axis % given.dim() else 1 for d in range(given.dim())]
    lifted = tuple(Source(s.tensor, s.shape, tuple(i.view(view) for i in s.indices)) for s in parts)
    if value.labels is None:
        return Value(value.shape, None, (*value.sources, *lifted))
    for source in lifted:
        meet(source, value.labels, tracker.atoms)
    return Value(value.shape, tracker.atoms.roots(value.labels))


FAKE_QUANTISATIONS: dict[str, Rule] = {
    "fake_quantize_per_tensor_affine": _per_tensor,
    "fake_quantize_per_tensor_affine_cachemask": _per_tensor,
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams": _per_tensor,
    "_fake_quantize_learnable_per_tensor_affine": _per_tensor,
    "fake_quantize_per_channel_affine": _per_channel,
    "fake_quantize_per_channel_affine_cachemask": _per_channel,
    "_fake_quantize_learnable_per_channel_affine": _per_channel,
    "_fused_moving_avg_obs_fq_helper": _observed,
    "_fused_moving_avg_obs_fq_helper_functional": _observed,
}
