"""Convolutions: of one group, of one group for each channel, and of groups between."""

from __future__ import annotations

from typing import Any

import torch

from ...freeze_reasons import FreezeCode
from ..state import Tracker
from ..values import Source, Value, as_activation, by_index, follow, meet
from .crossing import layered
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
    if _beside_channels(labels, inputs, weight, out, groups):
        # Positions are mixed as channels are (gMLP): Liu et al., "Pay Attention to MLPs", 2021, arXiv:2105.08050.
        source = known.sources[0]
        made = tracker.produce(source.tensor, int(transposed), source.shape[int(transposed)])
        return [layered(tracker, out.shape, [labels, made.view(1, -1, *[1] * (out.dim() - 2))])]
    source = known.sources[0]
    follow(source, known.sources[1:], tracker.atoms)
    incoming = by_index(labels, 1, inputs.shape[1], tracker.atoms)
    if groups > 1 and source.shape[0] != weight.shape[0]:
        outgoing = _repeated(tracker, incoming, groups, out.shape[1])
    elif groups > 1:
        outgoing = (_grouped_transposed if transposed else _grouped)(tracker, source, incoming, groups)
    else:
        made, read = (1, 0) if transposed else (0, 1)
        tracker.atoms.unite_pairs(incoming, tracker.atoms.of(source.tensor, read, source.shape[read]))
        outgoing = tracker.produce(source.tensor, made, source.shape[made])
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


def _beside_channels(
    labels: torch.Tensor, inputs: torch.Tensor, weight: torch.Tensor, out: torch.Tensor, groups: int
) -> bool:
    """Return whether labels lie along the places of a convolution of one place each, and not along its channels."""
    alone = all(size == 1 for size in weight.shape[2:]) and inputs.shape[2:] == out.shape[2:]
    return alone and groups == 1 and labels.shape[1] == 1 and labels.numel() > 1


def _repeated(tracker: Tracker, incoming: torch.Tensor, groups: int, outputs: int) -> torch.Tensor:
    """Return the labels after one filter that is repeated for every channel, such as a fixed blur: it takes any number.

    Zhang, "Making Convolutional Networks Shift-Invariant Again", ICML 2019, arXiv:1904.11486.
    """
    if groups != incoming.numel():
        tracker.atoms.fix(incoming.tolist(), FreezeCode.REPEATED_WEIGHT.because())
    return incoming.repeat_interleave(outputs // incoming.numel())


def _grouped(tracker: Tracker, source: Source, incoming: torch.Tensor, groups: int) -> torch.Tensor:
    """Unite whole groups, or the same position of every group, whichever leaves more to choose from."""
    atoms = tracker.atoms
    made = tracker.produce(source.tensor, 0, source.shape[0])
    rows, by_group = incoming.view(groups, -1), made.view(groups, -1)
    if groups >= max(rows.shape[1], by_group.shape[1]):
        tracker.whole_groups.add(source.tensor)
        _unite_rows(tracker, torch.cat([rows, by_group], 1))
    else:
        read = atoms.of(source.tensor, 1, source.shape[1])
        _unite_rows(tracker, torch.cat([rows.mT, read[:, None]], 1))
        _unite_rows(tracker, by_group.mT)
    return made


def _grouped_transposed(tracker: Tracker, source: Source, incoming: torch.Tensor, groups: int) -> torch.Tensor:
    """Do the same for a transposed convolution, whose filters lie along its inputs: each makes a part of its group."""
    atoms = tracker.atoms
    read = atoms.of(source.tensor, 0, source.shape[0])
    rows, by_group = incoming.view(groups, -1), read.view(groups, -1)
    if groups >= max(rows.shape[1], source.shape[1]):
        tracker.whole_groups.add(source.tensor)
        tracker.produce(source.tensor, 0, source.shape[0])
        _unite_rows(tracker, torch.cat([rows, by_group], 1))
        return by_group[:, :1].expand(-1, source.shape[1]).flatten()
    _unite_rows(tracker, torch.cat([rows.mT, by_group.mT], 1))
    return tracker.produce(source.tensor, 1, source.shape[1]).repeat(groups)


def _unite_rows(tracker: Tracker, rows: torch.Tensor) -> None:
    for row in rows.tolist():
        tracker.atoms.unite_all(row)


CONVOLUTIONS: dict[str, Rule] = {"convolution": _convolution, "convolution_overrideable": _convolution}
