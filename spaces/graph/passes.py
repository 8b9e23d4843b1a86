"""Forward passes by which a network is followed and its pruned copies are judged: on which inputs, in which mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..inputs import Inputs, call
from .random_numbers import Draws, SeededDraws, seeded

Decision = tuple[int, float]
"""The number of a tensor among those that a pass turns into a plain number, and the number that it becomes."""


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """One way of running a network."""

    inputs: Inputs
    name: str = "the example input"
    """What people call it: ``on ...`` or ``in training mode``."""
    training: bool = False
    forced: tuple[Decision, ...] = ()
    """Values that stand in for what the network would decide by."""
    new: bool = False
    """Whether it runs layers or gives outputs that the first one does not."""


@dataclass
class Outcome:
    """What came of a pass."""

    outputs: Any
    draws: Draws
    decided_by: list[torch.Tensor] = field(default_factory=list)
    """Floating-point tensors that were turned into integers or truth values, where they were asked for."""


def run(
    model: nn.Module,
    forward: ForwardPass,
    *,
    like: Draws | None = None,
    gradients: bool = False,
    watch_integers: bool = False,
) -> Outcome:
    """Run ``model``, which takes the pass's mode; all its random numbers are seeded, and no one else's are touched.

    Args:
        model: a network of one's own, as a training mode changes its state.
        forward: how.
        like: what the network that it is compared with draws; ``None`` records what this one draws. An empty one says
            that nothing is drawn, which saves looking.
        gradients: whether they are recorded.
        watch_integers: whether what becomes an integer or a truth value is noted.
    """
    model.train(forward.training)
    watch = _Integers() if watch_integers else None
    mode = SeededDraws(like) if like is None or like.shapes else None
    with ExitStack() as stack:
        stack.enter_context(seeded())
        stack.enter_context(torch.set_grad_enabled(gradients))
        if mode is not None:
            stack.enter_context(mode)
        if forward.forced:
            stack.enter_context(_Forced(forward.forced))
        if watch is not None:
            stack.enter_context(watch)
        outputs = call(model, forward.inputs)
    return Outcome(outputs, Draws() if mode is None else mode.draws, [] if watch is None else watch.seen)


class _Mode(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # see coupling.track


class _Forced(_Mode):
    """Gives other numbers for some of the tensors that are turned into plain ones."""

    def __init__(self, forced: Sequence[Decision]) -> None:
        super().__init__()
        self._forced: Mapping[int, float] = dict(forced)
        self._count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if is_decision(func):
            out = type(out)(self._forced.get(self._count, out))
            self._count += 1
        return out


class _Integers(_Mode):
    """Notes what becomes an integer or a truth value."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        made = out if isinstance(out, tuple | list) else (out,)
        if any(isinstance(t, torch.Tensor) and not t.is_floating_point() for t in made):
            given = [a for a in args if isinstance(a, torch.Tensor) and a.is_floating_point()]
            self.seen += [a.detach().clone() for a in given]
        return out


def is_decision(func: Any) -> bool:
    """Return whether an operation turns a tensor into a plain number, by which Python decides."""
    return func.overloadpacket.__name__ in ("_local_scalar_dense", "equal")
