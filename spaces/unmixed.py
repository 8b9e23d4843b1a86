"""Whether channels keep their places where a normalisation mixes them, so that masks show nothing.

A network that normalises across channels differs from its masked twin by the statistics, which see the masked ones.
Here both run with every such operation replaced by one of each element alone, or of a sum, to which zeros add nothing.
What differs then is not the statistics but the channels: one that was picked by its number is another one now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from .coupling import Tracker
from .coupling.atoms import ANY, FIXED
from .coupling.rules.reduction import dims_of
from .freeze_reasons import FreezeCode
from .groups import FrozenGroup, Group
from .inputs import call, tensors_of
from .slicing import positions_of, without, zeroed
from .verification import TOLERANCE, MaskOracle

_ROUNDS = 4
"""Cuts that are compared: a channel picked by its number is another one in nearly every cut."""
_SOFTMAX = frozenset("_softmax _log_softmax _safe_softmax".split())
_STATISTICS = frozenset("mean amax amin max min median logsumexp prod var std var_mean std_mean".split())


def without_moved(
    groups: Sequence[Group], tracker: Tracker, oracle: MaskOracle
) -> tuple[list[Group], list[FrozenGroup]]:
    """Return the groups whose channels keep their places, and frozen the others.

    Only those are looked at that a normalisation mixes and from which channels were picked by their numbers.
    """
    kept, frozen = [], []
    for group in groups:
        if group.verification == "shape" and _is_picked(group, tracker) and _moves(group, oracle):
            reason = FreezeCode.INDEX.because(operation="indexing with numbers")
            frozen.append(FrozenGroup.because(reason, group.name, group.layers, group.channels))
        else:
            kept.append(group)
    return kept, frozen


def _is_picked(group: Group, tracker: Tracker) -> bool:
    atoms = tracker.atoms
    picked = {atoms.find(a) for a in tracker.picked - {ANY, FIXED}}
    return bool(picked) and any(
        picked & set(atoms.roots(atoms.known((s.tensor, s.dim))).tolist()) for s in group.slices if s.produces
    )


def _moves(group: Group, oracle: MaskOracle) -> bool:
    for round_ in range(_ROUNDS):
        order = torch.randperm(group.channels, generator=oracle.generator).tolist()
        removed = [(group, order[: max(1, group.channels * (round_ + 1) // (_ROUNDS + 1))])]
        small, twin = without(oracle.model, removed), zeroed(oracle.model, positions_of(removed))
        with torch.no_grad(), _Unmixed():
            pairs = zip(tensors_of(call(small, oracle.inputs)), tensors_of(call(twin, oracle.inputs)), strict=True)
        for found, wanted in pairs:
            scale = float(wanted.abs().max()) if wanted.numel() else 0.0
            if wanted.numel() and not float((found - wanted).abs().max()) <= 10 * TOLERANCE * (scale or 1.0):
                return True
    return False


class _Unmixed(TorchDispatchMode):
    """Replaces what is computed over many elements by what zeros do not change."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.rstrip("_")
        if name in ("native_layer_norm", "_fused_rms_norm"):
            return (_scaled(_tamed(args[0]), *args[2:4]), *out[1:])
        if name == "native_group_norm":
            shape = (1, -1, *[1] * (args[0].dim() - 2))
            weights = [None if w is None else w.view(shape) for w in args[1:3]]
            return (_scaled(_tamed(args[0]), *weights), *out[1:])
        if name in _SOFTMAX:
            return _tamed(args[0])
        if name in _STATISTICS and args[0].is_floating_point():
            return _summed(args[0], dims_of(func, args, kwargs or {}, args[0].dim()), name, out)
        return out


def _summed(given: torch.Tensor, dims: Sequence[int], name: str, out: Any) -> Any:
    """Return sums over ``dims`` in the shape of the statistics ``out``; indices stay."""

    def total(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return _tamed(values.sum(list(dims), keepdim=True)).reshape(like.shape)

    spread = given.square() if name.startswith(("var", "std")) else given
    if not isinstance(out, tuple):
        return total(spread, out)
    return (total(spread, out[0]), *(total(given, t) if t.is_floating_point() else t for t in out[1:]))


def _scaled(x: torch.Tensor, weight: torch.Tensor | None = None, bias: torch.Tensor | None = None) -> torch.Tensor:
    x = x if not isinstance(weight, torch.Tensor) else x * weight
    return x if not isinstance(bias, torch.Tensor) else x + bias


def _tamed(x: torch.Tensor) -> torch.Tensor:
    # Without normalisation values would grow from layer to layer; they must not be cut off, which hides differences.
    return torch.asinh(x)
