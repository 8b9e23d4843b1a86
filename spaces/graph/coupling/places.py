"""Channels that are told by their number or place: which class is the largest, which bin is worth what.

A mask leaves every channel where it is, so that a masked network cannot show what such an operation makes of fewer
channels, least of all where a normalisation mixes them. All this is settled in the last pass, when what goes together
is united: of what remains, each label may go alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch

from ..freeze_reasons import FreezeCode
from .atoms import ANY, FIXED
from .rules.fallback import is_made_to_measure
from .rules.numbering import GIVE_BOTH, GIVE_INDICES, IN_ORDER, SEARCHES, is_windowed
from .rules.pointwise import is_pointwise
from .rules.reduction import dims_of
from .rules.rule import tensors
from .state import Tracker
from .values import Value, compact

_INDEXED = frozenset("index index_select gather take embedding".split())
_SCATTER = frozenset("scatter scatter_add scatter_reduce index_add index_copy index_fill index_reduce".split())
_PICK = frozenset("select unbind index_select gather".split()) | _SCATTER
_PRODUCTS = frozenset("mm bmm mv addmm baddbmm addmv".split())
_JOINS = frozenset("cat stack".split())


def keep_places(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any, values: Sequence[Value]) -> None:
    """Fix channels whose number or place an operation uses; ``values`` are what is known of its outputs."""
    if not tracker.last:
        return
    name = func.overloadpacket.__name__.rstrip("_")
    given = tensors((args, kwargs))
    keep_told(tracker, given)
    if name in SEARCHES:
        return  # its rule has settled it, as far as boundaries are channels
    if name in GIVE_INDICES or name in IN_ORDER or is_windowed(name):
        code = FreezeCode.INDEX if name in GIVE_INDICES else FreezeCode.ORDER
        tracker.atoms.fix(_along(tracker, given[0], _run_over(name, func, args, kwargs)), code.because(operation=name))
    elif name in GIVE_BOTH and len(tensors(out)) == 2:
        found = _along(tracker, given[0], dims_of(func, args, kwargs, given[0].dim()))
        tracker.indices[id(tensors(out)[1])] = name, found
    elif name in _PRODUCTS:
        _keep_contracted(tracker, name, args, values[0])
    elif name == "convolution":
        _keep_convolved(tracker, name, args, values[0])
    elif name in _JOINS:
        _keep_joined(tracker, name, args)
    elif is_pointwise(func):
        _keep_beside_all(tracker, name, given)
    elif given:
        _keep_picked(tracker, name, args, kwargs, out)


def keep_told(tracker: Tracker, given: Iterable[torch.Tensor]) -> None:
    """Fix channels whose indices are used by whoever is given these tensors."""
    for operation, found in (tracker.indices[id(t)] for t in given if id(t) in tracker.indices):
        tracker.atoms.fix(found, FreezeCode.INDEX.because(operation=operation))


def keep_read(tracker: Tracker, tensor: torch.Tensor, operation: str) -> None:
    """Fix channels whose values become Python's numbers, told by where they stand in a list."""
    keep_told(tracker, [tensor])
    for labels in tracker.value(tensor).layers if tracker.last else ():
        tracker.atoms.fix(tracker.atoms.roots(labels).unique().tolist(), FreezeCode.INDEX.because(operation=operation))


def with_noise(tracker: Tracker, func: Any, args: Any, kwargs: Any, values: Sequence[Value]) -> Sequence[Value]:
    """Return ``values``, those of constants that say nothing of positions marked so.

    Random numbers, memory that is not filled yet, and what is computed from either; what is computed from parameters
    or channels is no constant, even where it is not followed, and comes out right when these are cut.
    """
    values = _scattered(tracker, func, args, values)
    if not any(v.is_constant for v in values):
        return values
    name = func.overloadpacket.__name__
    given = [tracker.value(t) for t in _moved(name.rstrip("_"), args, kwargs)]
    made = is_made_to_measure(name)
    drawn = torch.Tag.nondeterministic_seeded in func.tags or "empty" in name
    if drawn or (not made and any(v.noise or not v.is_constant for v in given)):
        return [replace(v, noise=True) if v.is_constant else v for v in values]
    return values


def _moved(name: str, args: Any, kwargs: Any) -> list[torch.Tensor]:
    """Return what an operation takes values from: an index says only where they go."""
    given = tensors((args, kwargs))
    return given[:1] if name in _INDEXED else [given[0], *given[2:]] if name in _SCATTER else given


def _scattered(tracker: Tracker, func: Any, args: Any, values: Sequence[Value]) -> Sequence[Value]:
    """Return the values of a scatter: of constants into a constant (one-hot rows) a constant, wherever they go."""
    if func.overloadpacket.__name__.rstrip("_") in _SCATTER:
        parts = [tracker.value(t) for t in [args[0], *tensors(args[3:])]]
        if all(v.is_constant for v in parts):
            return [Value.constant(v.shape) for v in values]
    return values


def _keep_picked(tracker: Tracker, name: str, args: Any, kwargs: Any, out: Any) -> None:
    """Note channels among which some are picked by numbers; fix them where the numbers are no constants."""
    given = tensors((args, kwargs))
    found = _along(tracker, given[0], _picked_from(name, args, out))
    numbers = given[1:2] if name in _SCATTER else given[1:] if name in _INDEXED else []
    if found and any(tracker.value(t).labels is not None for t in numbers):
        tracker.atoms.fix(found, FreezeCode.INDEX.because(operation=name))
    tracker.picked.update(found)


def _picked_from(name: str, args: Any, out: Any) -> Collection[int]:
    """Return the dimensions along which an operation takes what stands at given numbers."""
    rank = args[0].dim() if isinstance(args[0], torch.Tensor) else 0
    dim = args[1] % rank if rank and len(args) > 1 and isinstance(args[1], int) else 0
    if name == "embedding":
        return (0,)
    if name in _PICK or (name == "slice" and rank and out.shape[dim] != args[0].shape[dim]):
        return (dim,) if rank else ()
    if name == "index":
        return [d for d, index in enumerate(args[1]) if index is not None]
    return ()


def _run_over(name: str, func: Any, args: Any, kwargs: Any) -> Collection[int]:
    rank = args[0].dim()
    if is_windowed(name):
        return range(2, rank) if rank > 3 or "1d" in name or name.startswith("upsample_linear") else range(1, rank)
    if name in ("tril", "triu"):
        return range(rank - 2, rank)
    if name == "multinomial":
        return (rank - 1,) if rank else ()
    return dims_of(func, args, kwargs, rank)


def _along(tracker: Tracker, tensor: torch.Tensor, dims: Iterable[int]) -> list[int]:
    """Return the atoms of a tensor that differ along one of ``dims``."""
    return _differing(tracker, tracker.value(tensor), dims)


def _differing(tracker: Tracker, value: Value, dims: Iterable[int]) -> list[int]:
    wanted = list(dims)
    found: list[int] = []
    for labels in (compact(tracker.atoms.roots(part)) for part in value.layers):
        if any(labels.shape[d] > 1 for d in wanted):
            found += labels.unique().tolist()
    for source in value.sources:
        for dim, index in enumerate(source.indices):
            # Rows of a table that nothing makes are no channels.
            if (source.tensor, dim) in tracker.produced and any(index.shape[d] > 1 for d in wanted):
                found += tracker.atoms.of(source.tensor, dim, source.shape[dim])[index.flatten()].tolist()
    return found


def _keep_beside_all(tracker: Tracker, name: str, given: Sequence[torch.Tensor]) -> None:
    others = [v for v in map(tracker.value, given) if not v.is_constant]
    for constant in (t for t in given if t.numel() > 1 and _says_positions(tracker, t)):
        _keep_beside(tracker, name, constant, others)


def _says_positions(tracker: Tracker, tensor: torch.Tensor) -> bool:
    value = tracker.value(tensor)
    return value.is_constant and not value.noise


def _keep_beside(tracker: Tracker, name: str, constant: torch.Tensor, others: Iterable[Value], skip: int = 0) -> None:
    """Fix what stands, broadcast, beside different values of a constant; ``skip`` is a negative dimension, or 0."""
    reason = FreezeCode.POSITION.because(operation=name)
    for value in others:
        shared = range(-min(len(value.shape), constant.dim()), 0)
        for dim in (d for d in shared if d != skip and constant.shape[d] > 1):
            found = [a for a in _differing(tracker, value, [dim]) if a not in (ANY, FIXED)]
            if found and _varies(constant, dim):
                tracker.atoms.fix(found, reason)


def _varies(constant: torch.Tensor, dim: int) -> bool:
    return bool((constant != constant.narrow(dim, 0, 1)).any())


def _keep_contracted(tracker: Tracker, name: str, args: Any, result: Value) -> None:
    """Fix what a product sums over with different values of a constant, and what a constant is added to."""
    if name.startswith(("add", "badd")) and _says_positions(tracker, args[0]):
        _keep_beside(tracker, name, args[0], [result])
    left, right = args[1:3] if name.startswith(("add", "badd")) else args[:2]
    rows = -min(2, right.dim())
    for constant, other, summed, facing in ((left, right, -1, rows), (right, left, rows, -1)):
        if _says_positions(tracker, constant):
            inner = [(summed, facing), *((d, d) for d in range(-constant.dim(), -2))]
            for dim, beside in inner:
                found = _differing(tracker, tracker.value(other), [beside])
                if found and constant.shape[dim] > 1 and _varies(constant, dim):
                    tracker.atoms.fix(found, FreezeCode.POSITION.because(operation=name))


def _keep_convolved(tracker: Tracker, name: str, args: Any, result: Value) -> None:
    """Fix what a constant bias is added to."""
    bias = args[2]
    if bias is not None and _says_positions(tracker, bias):
        _keep_beside(tracker, name, bias.view(-1, *[1] * (args[0].dim() - 2)), [result])


def _keep_joined(tracker: Tracker, name: str, args: Any) -> None:
    parts = [t for t in args[0] if t.numel()]
    dim = args[1] if len(args) > 1 else 0
    others = [v for v in map(tracker.value, parts) if not v.is_constant]
    for part in (part for part in parts if _says_positions(tracker, part)):
        skip = dim % part.dim() - part.dim() if name == "cat" else 0
        _keep_beside(tracker, name, part, others, skip)
