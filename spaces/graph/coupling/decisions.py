"""Where a network decides by values: a tensor turned into a number or a truth value of Python's.

What the number is made of must stay, as nobody sees what Python does with it. Checks for values that are not finite
are no decisions: they look at nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from .atoms import ANY, FIXED
from .places import keep_read
from .rules.contraction import CONTRACTIONS
from .rules.convolution import CONVOLUTIONS
from .rules.reduction import REDUCTIONS
from .state import Tracker
from .values import Source, Value, follow

_LEAVES = ("numpy", "tolist", "__array__", "__dlpack__")
"""Methods by which a tensor's values leave PyTorch."""
_WEIGHING = frozenset(CONTRACTIONS) | frozenset(CONVOLUTIONS)


@dataclass(frozen=True)
class Decision:
    """A tensor that became a plain number."""

    number: int
    """Among all such of one pass."""
    value: bool | int | float


@dataclass
class Decisions:
    """What a network decides by in one pass."""

    tracker: Tracker
    taken: list[Decision] = field(default_factory=list)
    """Those that depend on the inputs."""
    unfollowed: bool = False
    """Whether values left PyTorch as arrays or lists, of which no other ones can be tried."""
    count: int = 0
    """How many there were so far, those that depend on no input among them."""
    _reduced: dict[int, tuple[torch.Tensor, ...]] = field(default_factory=dict)
    """By tensor: labels of the channels that were reduced on the way to it, since the last weight."""
    _checks: set[int] = field(default_factory=set)
    """Tensors that say which values are finite."""

    def note(self, func: Any, args: Any, given: list[torch.Tensor], made: list[torch.Tensor]) -> None:
        """Note what an operation made of the tensors ``given``."""
        name = func.overloadpacket.__name__.rstrip("_")
        labelled = [t for t in given if self.tracker.value(t).labels is not None]
        if _asks_for_finite(name, args) or (labelled and all(id(t) in self._checks for t in labelled)):
            self._checks.update(id(t) for t in made)
        reduced = [part for t in given for part in self._reduced.get(id(t), ())]
        if name in REDUCTIONS and given and made and made[0].numel() < given[0].numel():
            reduced += [labels for labels in self.tracker.value(given[0]).layers if labels.numel() > 1]
        # What a weight reads has become something else, whose channels are its own.
        weight = name in _WEIGHING and any(v.labels is None and v.sources for v in map(self.tracker.value, given))
        if reduced and not weight:
            unique = {id(part): part for part in reduced}
            self._reduced.update((id(t), tuple(unique.values())) for t in made)

    def is_check(self, func: Any, given: list[torch.Tensor]) -> bool:
        """Return whether an operation sums up checks for values that are not finite: it mixes no channels."""
        return func.overloadpacket.__name__ in ("any", "all") and all(id(t) in self._checks for t in given)

    def decide(self, given: Iterable[torch.Tensor], value: Any) -> None:
        """Freeze what a decision's tensors are made of."""
        tensors = list(given)
        weighs = [t for t in tensors if self.tracker.value(t).labels is not None and id(t) not in self._checks]
        if weighs:
            self.taken.append(Decision(self.count, value))
        for tensor in weighs:
            self._freeze(tensor)
        self.count += 1

    def leave(self, tensor: torch.Tensor, operation: str) -> None:
        """Freeze what becomes an array or a list."""
        keep_read(self.tracker, tensor, operation)
        if self.tracker.value(tensor).labels is not None:
            self.unfollowed = True
            self._freeze(tensor)

    def _freeze(self, tensor: torch.Tensor) -> None:
        for part in (*self.tracker.value(tensor).layers, *self._reduced.get(id(tensor), ())):
            self.tracker.decided.update(set(part.unique().tolist()) - {ANY, FIXED})


def _asks_for_finite(name: str, args: Any) -> bool:
    """Return whether an operation looks for what is not finite: by its name, or as PyTorch takes it to pieces."""
    if name in ("isnan", "isinf", "isfinite", "isposinf", "isneginf"):
        return True
    if name not in ("eq", "ne") or len(args) < 2:
        return False
    return args[0] is args[1] or (isinstance(args[1], float) and math.isinf(args[1]))


class Leaving(TorchFunctionMode):
    """Sees what no dispatch mode does: values that leave PyTorch, and the plain data of parameters."""

    def __init__(self, decisions: Decisions) -> None:
        super().__init__()
        self._decisions = decisions

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tracker = self._decisions.tracker
        name = getattr(func, "__name__", "")
        if name in _LEAVES and args and isinstance(args[0], torch.Tensor):
            self._decisions.leave(args[0], name)
        out = func(*args, **(kwargs or {}))
        if func == torch.Tensor.data.__get__:  # pyright: ignore[reportAttributeAccessIssue] - a property of C's
            tracker.set(out, tracker.value(args[0]))
        elif func == torch.Tensor.data.__set__:  # pyright: ignore[reportAttributeAccessIssue]
            overwrite(tracker, args[0], tracker.value(args[1]))
        return out


def overwrite(tracker: Tracker, target: torch.Tensor, value: Value) -> None:
    """Unite a parameter or buffer with what is written into it, such as the average of a student's weights."""
    own = tracker.value(target)
    if own.labels is None and own.sources:
        others = tuple(s for s in value.sources if s.tensor != own.sources[0].tensor and _beside(s, own))
        follow(own.sources[0], others, tracker.atoms)


def _beside(source: Source, own: Value) -> bool:
    return len(source.indices) == len(own.shape)
