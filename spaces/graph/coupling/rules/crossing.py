"""Values with two kinds of channels, such as an outer product: each kind lies along dimensions of its own.

Operations on one such value treat each kind alone. Where the kinds can no longer be told apart, as in an outer product
that is laid end to end, the larger one stays and the others keep their channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from ...freeze_reasons import FreezeCode
from ..atoms import ANY, FIXED
from ..state import Tracker
from ..values import Value, compact
from .rule import Rule, tensors


def along(labels: torch.Tensor) -> set[int]:
    """Return the dimensions along which labels differ."""
    return {d for d, size in enumerate(labels.shape) if size > 1}


def settle(tracker: Tracker, layers: Iterable[torch.Tensor]) -> None:
    """Let the channels of ``layers`` stay, as they can no longer be told from others; known for certain at the last."""
    if tracker.last:
        for labels in layers:
            tracker.atoms.fix(labels.unique().tolist(), FreezeCode.TANGLED.because())


def layered(tracker: Tracker, shape: Sequence[int], layers: Iterable[torch.Tensor]) -> Value:
    """Return a value with all ``layers`` that differ anywhere; of those that share a dimension the largest alone."""
    known = [part for part in map(compact, layers) if bool((part != ANY).any())]
    if len(known) < 2:
        return Value(tuple(shape), known[0]) if known else Value.uniform(tuple(shape))
    kept: list[torch.Tensor] = []
    for part in sorted((p for p in known if along(p)), key=lambda p: -p.unique().numel()):
        if any(along(part) & along(other) for other in kept):
            settle(tracker, [part])
        else:
            kept.append(part)
    kept.sort(key=lambda part: min(along(part)))
    return Value(tuple(shape), (kept or known)[0], crossed=tuple(kept[1:]))


def layer_by_layer(rule: Rule) -> Rule:
    """Return ``rule`` for values of several kinds of channels, where one input has labels."""

    def apply(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
        several = [t for t in tensors((args, kwargs)) if tracker.value(t).crossed]
        if not several:
            return rule(tracker, func, args, kwargs, out)
        _reduce(tracker, several[1:])
        whole = tracker.value(several[0])
        found = []
        for labels in whole.layers:
            tracker.values[id(several[0])] = Value(whole.shape, labels)
            found.append(rule(tracker, func, args, kwargs, out))
        tracker.values[id(several[0])] = whole
        parts = zip(tensors(out), zip(*found, strict=True), strict=True)
        return [layered(tracker, t.shape, [p.labels for p in values if p.labels is not None]) for t, values in parts]

    return apply


def guarded(rule: Rule) -> Rule:
    """Return ``rule`` with what it cannot read frozen: a stranger's forward calls operations in ways nobody foresaw."""

    def apply(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
        try:
            return rule(tracker, func, args, kwargs, out)
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
            reason = FreezeCode.UNKNOWN_ARGUMENTS.because(operation=func.overloadpacket.__name__)
            for labels in (part for t in tensors((args, kwargs)) for part in tracker.value(t).layers):
                tracker.atoms.fix(labels.unique().tolist(), reason)
            return [Value.uniform(t.shape, FIXED) for t in tensors(out)]

    return apply


def settled(rule: Rule) -> Rule:
    """Return ``rule`` for values of several kinds of channels, of which it can follow one."""

    def apply(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
        _reduce(tracker, [t for t in tensors((args, kwargs)) if tracker.value(t).crossed])
        return rule(tracker, func, args, kwargs, out)

    return apply


def across_joins(rule: Rule) -> Rule:
    """Return the rule of concatenation for values of several kinds of channels, which all of them have."""

    def apply(tracker: Tracker, func: Any, args: Any, kwargs: Any, out: Any) -> list[Value]:
        parts = list(args[0])
        values = [tracker.value(t) for t in parts]
        if not any(value.crossed for value in values):
            return rule(tracker, func, args, kwargs, out)
        kinds = {frozenset(along(labels)) for value in values for labels in value.layers if along(labels)}
        if sum(map(len, kinds)) > len({d for kind in kinds for d in kind}):
            return settled(rule)(tracker, func, args, kwargs, out)
        stacked = func.overloadpacket.__name__ == "stack"
        dim = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % tensors(out)[0].dim()
        found = []
        for kind in sorted(kinds, key=min):
            for tensor, labels in zip(parts, _of_kind(tracker, values, kind, None if stacked else dim), strict=True):
                tracker.values[id(tensor)] = labels
            found.append(rule(tracker, func, args, kwargs, out)[0].labels)
        tracker.values.update({id(t): value for t, value in zip(parts, values, strict=True)})
        return [layered(tracker, tensors(out)[0].shape, found)]

    return apply


def _of_kind(tracker: Tracker, values: Sequence[Value], kind: frozenset[int], dim: int | None) -> list[Value]:
    """Return the values with the labels of one kind; along dimensions that are not joined they are the same ones."""
    found = [next((p for p in value.layers if along(p) == kind), None) for value in values]
    if dim not in kind:
        known = [labels for labels in found if labels is not None]
        for labels in known[1:]:
            tracker.atoms.unite_pairs(known[0], labels)
        found = [tracker.atoms.roots(known[0]) for _ in found]
    return [
        Value.uniform(value.shape) if labels is None else Value(value.shape, labels)
        for value, labels in zip(values, found, strict=True)
    ]


def _reduce(tracker: Tracker, several: Iterable[torch.Tensor]) -> None:
    """Leave each value the largest of its kinds of channels."""
    for tensor in several:
        layers = sorted(tracker.value(tensor).layers, key=lambda p: -p.unique().numel())
        settle(tracker, layers[1:])
        tracker.values[id(tensor)] = Value(tracker.value(tensor).shape, layers[0])
