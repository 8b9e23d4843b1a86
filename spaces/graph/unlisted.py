"""Weights of which nothing is known yet: each is frozen with a reason, so that none is missing from a trace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from .coupling import Tracker
from .freeze_reasons import FreezeCode, FreezeReason
from .groups import FrozenGroup, Group, layer_of


def unlisted(
    model: nn.Module, tracker: Tracker, groups: Sequence[Group], frozen: Sequence[FrozenGroup]
) -> list[FrozenGroup]:
    """Return, frozen, the layers with parameters that are in none of ``groups`` and of ``frozen``, in order.

    Parameters of one element have no channels and are left out. A parameter outside of any layer stands under its own
    name.
    """
    known = {piece.tensor for group in groups for piece in group.slices}
    layers = {layer for group in frozen for layer in group.layers}
    parameters = dict(model.named_parameters(remove_duplicate=False))
    names: dict[int, list[str]] = {}
    for name, parameter in parameters.items():
        names.setdefault(id(parameter), []).append(name)
    found: dict[tuple[str, FreezeReason], int] = {}
    for same in names.values():
        parameter = parameters[same[0]]
        if parameter.numel() > 1 and not any(n in known or _owner(n) in layers for n in same):
            key = _owner(same[0]), _reason(tracker, same, parameter)
            found[key] = max(found.get(key, 0), max(parameter.shape[0], 1))
    return [FrozenGroup.because(reason, name, (name,), channels) for (name, reason), channels in found.items()]


def _owner(tensor: str) -> str:
    return layer_of(tensor) or tensor


def _reason(tracker: Tracker, names: Iterable[str], parameter: torch.Tensor) -> FreezeReason:
    """Return why the channels of a parameter stay: what they met, else whether it ran at all."""
    ran = [name for name in names if name in tracker.read]
    if not ran:
        return FreezeCode.NEVER_RUN.because()
    for name in ran:
        for dim, size in enumerate(parameter.shape):
            reasons = map(tracker.atoms.reason, tracker.atoms.of(name, dim, size).tolist())
            if (reason := next((r for r in reasons if r is not None), None)) is not None:
                return reason
    return FreezeCode.UNFOLLOWED.because()
