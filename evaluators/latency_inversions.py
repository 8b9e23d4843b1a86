"""Networks that are slower than one that keeps more: what falling out of a runtime's fast kernels looks like."""

from __future__ import annotations

from collections.abc import Iterable

from ..spaces.policy import Policy
from .configuration import Configuration

_NARROWING = ("none", "channel")


def keeps_more(more: Policy, less: Policy) -> bool:
    """Return whether ``more`` keeps at least as much of every group as ``less``, and more of one, at one precision.

    Policies that differ by anything but channels are not compared: zeroed weights change no latency, nor does a
    criterion.
    """
    if more.precision != less.precision or more.choices.keys() != less.choices.keys():
        return False
    pairs = [(more.choices[name], less.choices[name]) for name in less.choices]
    if any(a != b and not {a.type, b.type} <= set(_NARROWING) for a, b in pairs):
        return False
    return all(a.kept >= b.kept for a, b in pairs) and any(a.kept > b.kept for a, b in pairs)


def slower_than(configurations: Iterable[Configuration]) -> dict[int, int]:
    """Return, by trial, the fastest other trial that keeps more and is faster beyond the error of both."""
    timed = [(c, c.metrics.get("latency_ms")) for c in configurations]
    known = sorted(((c, float(t)) for c, t in timed if t is not None), key=lambda pair: pair[1])
    found: dict[int, int] = {}
    for slow, time in known:
        least = time * (1 - slow.latency_error)
        for fast, other in known:
            if other * (1 + fast.latency_error) >= least:
                continue
            if keeps_more(fast.policy, slow.policy):
                found[slow.trial] = fast.trial
                break
    return found
