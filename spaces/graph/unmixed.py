"""Whether channels keep their places where a normalisation mixes them, so that masks show nothing.

A network that normalises across channels differs from its masked twin by the statistics, which see the masked ones.
Here both run with every such operation replaced by one of each element alone, or of a sum, to which zeros add nothing.
What differs then is not the statistics but the channels: one that was picked by its number is another one now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from .comparison import values_of
from .coupling import Tracker
from .coupling.atoms import ANY, FIXED
from .coupling.rules.reduction import dims_of
from .freeze_reasons import FreezeCode
from .groups import FrozenGroup, Group
from .passes import ForwardPass, run
from .slicing import positions_of, without, zeroed
from .verification import TOLERANCE, MaskOracle, width_of

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
            frozen.append(FrozenGroup.because(reason, group.name, group.layers, width_of(group)))
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
    return any(_differ(group, gone, oracle) for gone in _cuts(group.channels, oracle.generator))


def _cuts(channels: int, generator: torch.Generator) -> Iterator[list[int]]:
    """Yield what is removed: first channels, which shifts all others; last ones; every second one; others at random."""
    half, everyone = max(1, channels // 2), list(range(channels))
    yield from (everyone[:half], everyone[channels - half :], everyone[::2][:half])
    yield torch.randperm(channels, generator=generator).tolist()[:half]


def _differ(group: Group, gone: Sequence[int], oracle: MaskOracle) -> bool:
    removed = [(group, gone)]
    small, twin = without(oracle.model, removed), zeroed(oracle.model, positions_of(removed))
    forward = ForwardPass(oracle.inputs)
    with _Unmixed():
        pruned = run(small, forward)
        masked = run(twin, forward, like=pruned.draws)
    found, wanted = values_of(pruned.outputs), values_of(masked.outputs)
    return any(_apart(a, b) for a, b in zip(found, wanted, strict=True) if b.numel())


def _apart(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    if found.shape != wanted.shape:
        return True
    scale = float(wanted.abs().max()) or 1.0
    # Also true of what is not a number. Values are larger than with normalisation, and rounded more.
    return not float((found - wanted).abs().max()) <= 10 * TOLERANCE * scale


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
