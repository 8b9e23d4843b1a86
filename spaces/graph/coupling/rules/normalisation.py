"""Normalisations: over each channel alone, or across channels."""

from __future__ import annotations

from typing import Any

import torch

from ..state import Tracker
from ..values import Source, Value, as_activation, meet
from .rule import Rule, opaque, tensors


def _batch_norm(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    value = tracker.value(args[0])
    if value.labels is None and value.sources:
        return [_standardised(tracker, value, tensors(args[1:5])), *opaque(out)[1:]]
    labels = as_activation(value, tracker.atoms)
    for parameter in tensors(args[1:5]):
        _beside_channels(tracker, parameter, labels)
    return [Value(tuple(args[0].shape), tracker.atoms.roots(labels)), *opaque(out)[1:]]


def _standardised(tracker: Tracker, weight: Value, scales: list[torch.Tensor]) -> Value:
    """Return the value of a weight each of whose rows is normalised: what it reads is mixed, it stays a weight.

    Qiao et al., "Micro-Batch Training with Batch-Channel Normalization and Weight Standardization", 2019,
    arXiv:1903.10520.
    """
    rank = len(weight.shape)
    for source in weight.sources:
        for dim, index in enumerate(source.indices):
            if index.numel() > 1 and index.shape[1] == 1:
                tracker.atoms.mix(tracker.atoms.of(source.tensor, dim, source.shape[dim]).tolist())
    parts = [s for scale in scales for s in tracker.value(scale).sources]
    lifted = [Source(s.tensor, s.shape, tuple(i.view(1, -1, *[1] * (rank - 2)) for i in s.indices)) for s in parts]
    return Value(weight.shape, None, (*weight.sources, *lifted))


def _beside_channels(tracker: Tracker, parameter: torch.Tensor, labels: torch.Tensor) -> None:
    for source in tracker.value(parameter).sources:
        if labels.dim() > 1:
            index = tuple(i.view(1, -1, *[1] * (labels.dim() - 2)) for i in source.indices)
            meet(Source(source.tensor, source.shape, index), labels, tracker.atoms)


def _layer_norm(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    labels = as_activation(tracker.value(args[0]), tracker.atoms)
    for parameter in tensors(args[2:4]):
        for source in tracker.value(parameter).sources:
            lifted = tuple(i.view([1] * (labels.dim() - i.dim()) + list(i.shape)) for i in source.indices)
            meet(Source(source.tensor, source.shape, lifted), labels, tracker.atoms)
    tracker.atoms.mix(labels.unique().tolist())
    return [Value(tuple(args[0].shape), tracker.atoms.roots(labels)), *opaque(out)[1:]]


def _group_norm(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    value = tracker.value(args[0])
    labels = as_activation(value, tracker.atoms)
    groups = int(args[6])
    for parameter in tensors(args[1:3]):
        _beside_channels(tracker, parameter, labels)
    if labels.shape[1] > 1 and 1 < groups < labels.shape[1]:
        tracker.boxes.append(labels.reshape(groups, -1))
    if groups < args[0].shape[1]:
        tracker.atoms.mix(labels.unique().tolist())
    return [Value(tuple(args[0].shape), tracker.atoms.roots(labels)), *opaque(out)[1:]]


def _weight_norm(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    direction, magnitude = tracker.value(args[0]), tracker.value(args[1])
    weight = Value(tuple(args[0].shape), None, (*direction.sources, *magnitude.sources))
    return [weight, *opaque(out)[1:]]


NORMALISATIONS: dict[str, Rule] = {
    "native_batch_norm": _batch_norm,
    "_native_batch_norm_legit": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "_batch_norm_no_update": _batch_norm,
    "cudnn_batch_norm": _batch_norm,
    "batch_norm": _batch_norm,
    "native_layer_norm": _layer_norm,
    "_fused_rms_norm": _layer_norm,
    "native_group_norm": _group_norm,
    "_weight_norm_interface": _weight_norm,
}
