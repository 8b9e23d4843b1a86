"""Following a network through all the passes that it can be seen to make, and what remains unseen.

It is followed on each example input, in training mode where that runs other layers, and, where it decides by values,
the other way, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..architectures.attention import free_heads_
from ..architectures.recurrent import spell_out_
from ..inputs import Inputs, tensors_of
from .copying import copied
from .coupling import Seen, Tracker, follow
from .coupling.footprint import Footprint
from .coupling.track import plain_attention
from .groups import layer_of
from .output_shapes import OutputShapes
from .outputs import check_seen
from .passes import Decision, ForwardPass, run
from .quantisation_aware import follow_scales_
from .slicing import forget, named_tensors

MOST_FORCED = 8
"""At most so many passes are made in which the network is made to decide otherwise."""
_LARGE = 1e6


@dataclass(frozen=True)
class Followed:
    """What was found."""

    tracker: Tracker
    passes: tuple[ForwardPass, ...]
    """What pruned networks are to be judged by, beside random inputs like the first example."""
    notes: tuple[str, ...]
    unread: tuple[str, ...]
    """Layers that never ran although the network decides by values and not all ways were taken: they may read
    anything."""


def follow_all(model: nn.Module, examples: Sequence[Inputs], drawn: Inputs) -> Followed:
    """Follow ``model`` through its passes; it is left as it is.

    Args:
        model: the network.
        examples: inputs on which it runs in eval mode.
        drawn: random inputs like the first example, of two samples where it can take them, for all other passes.
    """
    following = _Following(model, drawn)
    first = following.add(ForwardPass(examples[0]))
    for number, example in enumerate(examples[1:], start=2):
        following.further(ForwardPass(example, name=f"example input {number}"), like=examples[0])
    following.train()
    if first.decisions:
        following.explore()
    following.settle()
    return following.found()


@dataclass
class _Following:
    model: nn.Module
    drawn: Inputs
    tracker: Tracker = field(default_factory=Tracker)
    passes: list[tuple[ForwardPass, Seen]] = field(default_factory=list)
    """Those that are followed by labels; the first is the first example."""
    others: list[ForwardPass] = field(default_factory=list)
    """Those that run like one that is followed."""
    notes: list[str] = field(default_factory=list)
    complete: bool = True
    """Whether every way that the network may decide was taken."""

    def add(self, forward: ForwardPass) -> Seen:
        """Follow a pass; one that runs like another is not followed a second time."""
        seen = follow(self.tracker, self._network(), forward)
        self.complete &= not seen.unfollowed
        like = any(_runs_alike(seen, other) for _, other in self.passes)
        if like:
            self.others.append(forward)
        else:
            self.passes.append((replace(forward, new=bool(self.passes)), seen))
        return seen

    def further(self, forward: ForwardPass, *, like: Inputs) -> None:
        """Follow another example, unless all it does is known: of the same kind, where nothing is decided by values."""
        first = self.passes[0][1]
        if first.decisions or first.unfollowed or _kind(forward.inputs) != _kind(like):
            seen = self.add(forward)
            self._compare(f"on {forward.name}", first, seen)
        else:
            self.others.append(forward)

    def train(self) -> None:
        """Look at training mode, and follow it where it runs other layers or gives other outputs."""
        forward = ForwardPass(self.drawn, name="training mode", training=True)
        first = self.passes[0][1]
        try:
            touched, shapes = self._footprint(forward)
            if touched == first.touched and _places(shapes) == _places(first.shapes):
                self.others.append(forward)
            else:
                self._compare("in training mode", first, self.add(forward))
        except Exception as error:  # noqa: BLE001 - a stranger's forward may raise anything in a mode it is not made for
            words = (str(error).splitlines() or [""])[0][:160]
            self.notes.append(
                f"training mode is not followed: there the network fails ({type(error).__name__}: {words})"
            )

    def _footprint(self, forward: ForwardPass) -> tuple[tuple[Any, ...], OutputShapes]:
        network = self._network()
        footprint = Footprint.of(named_tensors(network))
        # As in the pass that it is compared with: a fused kernel is another operation.
        with plain_attention(), _Watch(footprint):
            outputs = run(network, forward).outputs
        check_seen(outputs)
        return tuple(footprint.touched), OutputShapes.of(outputs)

    def explore(self) -> None:
        """Make the network decide otherwise, one decision after another."""
        natural = ForwardPass(self.drawn, name="random inputs")
        waiting: list[tuple[tuple[Decision, ...], Seen]] = [((), self.add(natural))]
        known, tried = len(self.passes), 0
        while waiting:
            forced, seen = waiting.pop(0)
            ways = list(_other_ways(forced, seen))
            self.complete &= len(ways) <= MOST_FORCED - tried
            for further, sure in ways[: MOST_FORCED - tried]:
                tried += 1
                other = self._forced(ForwardPass(self.drawn, name=f"deciding otherwise ({tried})", forced=further))
                # Of a truth value there is one other. Of a number there are many: where none that was tried changes
                # what runs, none is taken to; else others might do more.
                self.complete &= sure or (other is not None and _runs_alike(other, seen))
                if other is not None and not _runs_alike(other, seen):
                    waiting.append((further, other))
        if len(self.passes) > known or not self.complete:
            ways = f"{tried} other way{'' if tried == 1 else 's'} {'was' if tried == 1 else 'were'} followed"
            self.notes.append(f"forward decides by values; {ways}{'' if self.complete else ', and there are more'}")

    def _forced(self, forward: ForwardPass) -> Seen | None:
        """Follow a pass with other decisions; one that fails, such as at a check of inputs, is none."""
        try:
            check_seen(run(self._network(), forward).outputs)
        except Exception:  # noqa: BLE001 - it fails where it is made to, or on numbers that no input gives
            return None
        seen = self.add(forward)
        self._compare("where it decides otherwise", self.passes[0][1], seen)
        return seen

    def settle(self) -> None:
        """Follow all passes a second time: what the first unites helps to tell scalars from channels."""
        self.tracker.last = True
        for forward, _ in self.passes:
            follow(self.tracker, self._network(), forward)

    def found(self) -> Followed:
        """Return what was found."""
        idle = self._never_run()
        if idle:
            self.notes.append(f"ran on no example input in either mode: {', '.join(idle)}")
        extra = [*(forward for forward, _ in self.passes[1:]), *self.others]
        decides = any(seen.decisions or seen.unfollowed for _, seen in self.passes)
        unread = idle if decides and not self.complete else ()
        return Followed(self.tracker, tuple(extra), tuple(dict.fromkeys(self.notes)), unread)

    def _never_run(self) -> tuple[str, ...]:
        touched = frozenset().union(*(seen.tensors for _, seen in self.passes))
        ran = {layer_of(name) for name in _names(self.model, touched)}
        layers = dict.fromkeys(layer_of(name) for name, _ in self.model.named_parameters())
        return tuple(layer for layer in layers if layer and layer not in ran)

    def _compare(self, where: str, first: Seen, seen: Seen) -> None:
        """Note how a pass differs from the first one."""
        more, fewer = (
            tuple(dict.fromkeys(layer_of(n) for _, names in a.touched for n in names if layer_of(n) not in b))
            for a, b in ((seen, _layers(first)), (first, _layers(seen)))
        )
        if more:
            self.notes.append(f"{where} also run: {', '.join(more)}")
        if fewer:
            self.notes.append(f"{where} do not run: {', '.join(fewer)}")
        if _places(seen.shapes) != _places(first.shapes):
            self.notes.append(
                f"{where} the outputs are others: {_listed(seen)}; on the example input, {_listed(first)}"
            )

    def _network(self) -> nn.Module:
        network = copied(self.model)
        forget(network)
        follow_scales_(network)
        for module in network.modules():
            free_heads_(module)
            spell_out_(module)
        return network


class _Watch(TorchDispatchMode):
    """Notes which operations read and write parameters."""

    def __init__(self, footprint: Footprint) -> None:
        super().__init__()
        self._footprint = footprint

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # see coupling.track

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._footprint.note(func, tensors_of((args, kwargs or {})))
        return func(*args, **(kwargs or {}))


def _other_ways(forced: tuple[Decision, ...], seen: Seen) -> Iterator[tuple[tuple[Decision, ...], bool]]:
    """Yield what else the network may decide after what it was made to decide already, and whether that is all."""
    last = max((number for number, _ in forced), default=-1)
    for decision in seen.decisions:
        if decision.number > last:
            sure = isinstance(decision.value, bool)
            yield from (((*forced, (decision.number, value)), sure) for value in _other_values(decision.value))


def _other_values(value: float) -> Sequence[float]:
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return tuple(other for other in range(4) if other != value)
    return (_LARGE, -_LARGE)


def _runs_alike(one: Seen, other: Seen) -> bool:
    return one.touched == other.touched and _places(one.shapes) == _places(other.shapes)


def _places(shapes: OutputShapes) -> list[list[tuple[str, int, torch.dtype]]]:
    return [[(output.place, len(output.shape), output.dtype) for output in form] for form in shapes.forms]


def _kind(inputs: Inputs) -> list[Any]:
    """Return what inputs are, their number of samples aside."""
    names = sorted(inputs) if isinstance(inputs, dict) else []
    return [*names, *((tuple(t.shape[1:]), t.dtype) for t in tensors_of(inputs))]


def _layers(seen: Seen) -> frozenset[str]:
    return frozenset(map(layer_of, seen.tensors))


def _listed(seen: Seen) -> str:
    return ", ".join(output.place or "a tensor" for output in seen.shapes.forms[0])


def _names(model: nn.Module, touched: frozenset[str]) -> Iterator[str]:
    """Yield all names of the tensors that were touched: one that is shared has several."""
    tensors = named_tensors(model)
    found = {id(tensors[name]) for name in touched if name in tensors}
    return (name for name, tensor in tensors.items() if id(tensor) in found)
