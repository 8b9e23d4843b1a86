"""Convolutions: of one group, of one group for each channel, and of groups between."""

from __future__ import annotations

from typing import Any

import torch

from ...freeze_reasons import FreezeCode
from ..state import Tracker
from ..values import Source, Value, as_activation, by_index, follow, meet
from .rule import Rule, opaque


def _convolution(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
    inputs, weight, bias = args[0], args[1], args[2]
    transposed, groups = bool(args[6]), int(args[8])
    known = tracker.value(weight)
    labels = as_activation(tracker.value(inputs), tracker.atoms)
    if known.labels is not None or not known.sources:
        tracker.atoms.fix(labels.unique().tolist(), FreezeCode.COMPUTED_WEIGHT.because())
        return opaque(out)
    if _along_channels(labels, inputs, weight, out):
        tracker.atoms.mix(labels.unique().tolist())
        return [Value(tuple(out.shape), tracker.atoms.roots(labels))]
    source = known.sources[0]
    follow(source, known.sources[1:], tracker.atoms)
    made, read = (1, 0) if transposed else (0, 1)
    incoming = by_index(labels, 1, inputs.shape[1], tracker.atoms)
    produced = tracker.produce(source.tensor, made, source.shape[made])
    if groups == 1:
        tracker.atoms.unite_pairs(incoming, tracker.atoms.of(source.tensor, read, source.shape[read]))
        outgoing = produced
    else:
        outgoing = _grouped(tracker, source, incoming, groups, transposed)
    value = tracker.atoms.roots(outgoing).view(1, -1, *[1] * (out.dim() - 2))
    if bias is not None:
        for part in tracker.value(bias).sources:
            index = tuple(i.view(1, -1, *[1] * (out.dim() - 2)) for i in part.indices)
            meet(Source(part.tensor, part.shape, index), value, tracker.atoms)
    return [Value(tuple(out.shape), tracker.atoms.roots(value))]


def _along_channels(labels: torch.Tensor, inputs: torch.Tensor, weight: torch.Tensor, out: torch.Tensor) -> bool:
    """Return whether a window runs over channels as if they lay in space, and gives as many as it takes.

    Wang et al., "ECA-Net", CVPR 2020, arXiv:1910.03151.
    """
    alone = weight.shape[0] == weight.shape[1] == 1
    return alone and inputs.shape == out.shape and any(size > 1 for size in labels.shape[2:])


def _grouped(tracker: Tracker, source: Source, incoming: torch.Tensor, groups: int, transposed: bool) -> torch.Tensor:
    """Unite whole groups, or the same position of every group, whichever leaves more to choose from."""
    atoms = tracker.atoms
    rows = incoming.view(groups, -1)
    if transposed:
        atoms.fix(incoming.tolist(), FreezeCode.TRANSPOSED_GROUPS.because())
        return torch.full((groups * source.shape[1],), 0, dtype=torch.long)
    made = atoms.of(source.tensor, 0, source.shape[0])
    by_group = made.view(groups, -1)
    if groups >= max(rows.shape[1], by_group.shape[1]):
        tracker.whole_groups.add(source.tensor)
        for left, right in zip(rows, by_group, strict=True):
            atoms.unite_all([*left.tolist(), *right.tolist()])
    else:
        read = atoms.of(source.tensor, 1, source.shape[1])
        for position in range(rows.shape[1]):
            atoms.unite_all([*rows[:, position].tolist(), int(read[position])])
        for position in range(by_group.shape[1]):
            atoms.unite_all(by_group[:, position].tolist())
    return made


CONVOLUTIONS: dict[str, Rule] = {"convolution": _convolution, "convolution_overrideable": _convolution}
