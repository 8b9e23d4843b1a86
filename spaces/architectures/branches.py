"""Residual branches that can be dropped: what they add to their shortcut is then nothing.

Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016, arXiv:1603.09382, drop them while training; Chen and
Zhao, "Shallowing Deep Networks: Layer-wise Pruning based on Feature Representations", TPAMI 2019, for good.

A branch ends in a layer whose output can be zero without cutting the network's output off from its input; everything
that feeds this layer alone goes with it. Each branch found is compared with its masked twin before it is offered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import nn

from ..graph.copying import copied
from ..graph.groups import Branch, Group
from ..graph.liveness import Liveness
from ..graph.slicing import without
from ..graph.verification import TOLERANCE
from ..inputs import Inputs, call, tensors_of
from .attention import free_heads_
from .stand_ins import Absent, Skipped, drop_

__all__ = ["Absent", "Skipped", "drop_", "with_branches"]


_MISSES = 3
"""After so many ends of a kind that cannot be dropped the others are not tried."""


class Comparison(Protocol):
    """Runs two networks on inputs of its own."""

    @property
    def inputs(self) -> Inputs:
        """On what they are compared."""
        ...

    def difference(self, small: nn.Module, twin: nn.Module, *, gradients: bool = True) -> float | None:
        """Return how far their outputs are apart, relative to the largest; ``None`` where one does not run."""
        ...


def with_branches(model: nn.Module, groups: Sequence[Group], full: Comparison, quick: Comparison) -> list[Group]:
    """Return ``groups`` with the branch, if any, that goes when a group's block is dropped.

    Args:
        model: a perturbed copy in eval mode, so that nothing is zero by chance.
        groups: sound groups.
        full: compares a network without branches with its masked twin, on random inputs.
        quick: the same on fewer samples, to see what is worth a full comparison.
    """
    flow = Liveness.of(model, quick.inputs)
    training = _training_flow(model, full.inputs)
    inner = [g for g in groups if set(g.layers) <= set(flow.order) and not set(g.layers) & flow.repeated]
    inner = [g for g in inner if flow.order[0] not in g.layers]
    idle = _idle(flow, training, inner)
    ends: dict[str, None] = {}
    for group in inner:
        whole = [end for end, layers in idle.items() if set(group.layers) <= {*layers, end}]
        if whole:
            ends.setdefault(max(whole, key=lambda e: len(idle[e])))
    branches = {end: list(_variants(flow, end, idle[end], groups)) for end in ends}
    found = _Judge(model, flow, training, full, quick, groups).judge(branches)
    first = {branch.groups[0]: branch for branch in found}
    return [replace(g, branch=first[g.name]) if g.name in first else g for g in groups]


def _training_flow(model: nn.Module, inputs: Inputs) -> Liveness | None:
    """Return what is needed while training, where heads may read what nothing else does; ``None`` if it cannot run."""
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Liveness.of(model, inputs, training=True)
    except Exception:  # noqa: BLE001 - anything can be raised inside a stranger's forward; it is asked for no more
        return None


def _idle(flow: Liveness, training: Liveness | None, groups: Sequence[Group]) -> dict[str, frozenset[str]]:
    """Return for each layer that may end a branch those that it alone needs, unless nothing else carries the input."""
    found: dict[str, frozenset[str]] = {}
    for end in dict.fromkeys(e for g in groups for e in _ends(g, flow)):
        idle = flow.idle([end])
        if training is not None and end in training.outputs:
            idle &= training.idle([end]) | (idle - set(training.order))
        if idle and flow.order[0] not in idle:
            found[end] = idle
    return found


def _ends(group: Group, flow: Liveness) -> Iterator[str]:
    """Yield the group's last layer and the one that runs after it: a normalisation often ends a branch.

    A module with parameters of its own around layers (attention with a table of positions) ends in the last of them.
    """
    last = max(flow.order.index(layer) for layer in group.layers)
    for index in range(last, min(last + 2, len(flow.order))):
        around, before = flow.order[index], flow.order[index - 1]
        inside = [before] if index and before.startswith(f"{around}.") else []
        yield from (name for name in (*inside, around) if name not in flow.repeated)


def _silence(_module: nn.Module, _args: Any, output: Any) -> Any:
    return (output[0] * 0, *output[1:]) if isinstance(output, tuple) else output * 0


@dataclass
class _Judge:
    """Compares networks without branches with their masked twins: many branches at once, fewer where those fail."""

    model: nn.Module
    flow: Liveness
    training: Liveness | None
    full: Comparison
    quick: Comparison
    groups: Sequence[Group]
    thorough: bool = False
    """Whether every trial is a full one; else a quick one, and full is the last, of all branches that are found."""
    misses: int = 0
    """How many ends of the present kind, one after another, cannot be dropped in any way."""

    def judge(self, branches: Mapping[str, Sequence[Branch]]) -> list[Branch]:
        """Return for each end the first of its variants that is sound, if any, in order."""
        found = self._settled(branches)
        if not found or self._all_sound(found):
            return found
        self.thorough = True
        return self._together(self._settled(branches))

    def _settled(self, branches: Mapping[str, Sequence[Branch]]) -> list[Branch]:
        kinds: dict[tuple[str, str, str], list[str]] = {}
        for end in branches:
            parent, _, name = end.rpartition(".")
            around = (self.model.get_submodule(n) for n in (parent, parent.rpartition(".")[0]))
            inner, outer = (type(module).__qualname__ for module in around)
            kinds.setdefault((outer, inner, name), []).append(end)
        found: dict[str, Branch] = {}
        for ends in kinds.values():
            self.misses = 0
            found.update(self._settle({end: branches[end] for end in ends}, 0))
        return [found[end] for end in branches if end in found]

    def _together(self, branches: list[Branch]) -> list[Branch]:
        """Return what can go all at once, and every other one alone: no branch may need what another one leaves."""
        if not branches:
            return []
        if self._all_sound(branches):
            return branches
        if len(branches) < 2:
            return []
        middle = len(branches) // 2
        left, right = self._together(branches[:middle]), self._together(branches[middle:])
        while right and not self._sound([*left, *right]):
            right.pop()
        return [*left, *right]

    def _all_sound(self, branches: list[Branch]) -> bool:
        """Return whether branches can go all at once, and every other one alone, by full comparisons."""
        others = (branches[::2], branches[1::2]) if len(branches) > 1 else ()
        uncut = self._agree(branches, cut=False)  # two wrong sizes may agree where other groups are cut
        return uncut and self._agree(branches) and all(self._trains(self._pruned(part)[0]) for part in others)

    def _settle(self, branches: Mapping[str, Sequence[Branch]], likely: int) -> dict[str, Branch]:
        """Settle ends of one kind: what the first needs, its like in other blocks are tried with together."""
        if self.misses >= _MISSES:
            return {}
        first, *rest = branches
        tried = sorted(range(len(branches[first])), key=lambda i: i != likely)
        sound = next((i for i in tried if self._sound([branches[first][i]])), None)
        found = {} if sound is None else {first: branches[first][sound]}
        self.misses = self.misses + 1 if sound is None else 0
        if not rest:
            return found
        chosen = {end: branches[end][sound or 0] for end in rest if len(branches[end]) > (sound or 0)}
        if sound is not None and len(chosen) == len(rest) and self._sound(list(chosen.values()), training=False):
            return {**found, **chosen}
        for half in (rest[: len(rest) // 2], rest[len(rest) // 2 :]):
            if half:
                found.update(self._settle({end: branches[end] for end in half}, sound or 0))
        return found

    def _sound(self, branches: Sequence[Branch], *, training: bool = True) -> bool:
        return self._agree(branches, thorough=self.thorough, training=training)

    def _agree(
        self, branches: Sequence[Branch], *, thorough: bool = True, training: bool = True, cut: bool = True
    ) -> bool:
        """Return whether a network without ``branches`` agrees with its twin, and runs in training mode as it does."""
        pair = self._with_twin(branches, cut=cut)
        if pair is None:
            return False
        compare = self.full if thorough else self.quick
        # Backwards once: in eval mode, or where nothing else is cut in training mode, as every other branch alone is.
        difference = compare.difference(*pair, gradients=thorough and cut)
        agree = difference is not None and difference <= TOLERANCE
        return agree and (not training or self._trains(pair[0], backwards=thorough and not cut))

    def _with_twin(self, branches: Sequence[Branch], *, cut: bool) -> tuple[nn.Module, nn.Module] | None:
        """Return the network without ``branches`` and its masked twin; ``None`` where dropping them says nothing."""
        ends = [branch.width_of for branch in branches]
        if self.flow.order[0] in self.flow.idle(ends):
            return None  # what comes in goes nowhere: any two networks would agree
        if any(self._in_attention(name) for branch in branches for name in (branch.end, *branch.skipped)):
            return None
        small, twin = self._pruned(branches, cut=cut)
        for module in twin.modules():
            free_heads_(module)
        for branch in branches:
            twin.get_submodule(branch.width_of).register_forward_hook(_silence, prepend=True)
        return small, twin

    def _pruned(self, branches: Sequence[Branch], *, cut: bool = True) -> tuple[nn.Module, nn.Module]:
        """Return the network without ``branches``, and with them; of both every other group is cut, unless told not to.

        What stays is cut, too: a branch that is gone must do without sizes that others may change.
        """
        gone = {name for branch in branches for name in branch.groups}
        whole = without(self.model, [(g, [0]) for g in self.groups if cut and g.name not in gone], lazy=True)
        small = copied(whole, lazy=True)
        drop_(small, branches)
        return small, whole

    def _trains(self, small: nn.Module, *, backwards: bool = True) -> bool:
        """Return whether a network runs in training mode, too, where the dense one does: it may read other things."""
        if self.training is None or self._trained(small, backwards=backwards) == self.training.shapes:
            return True
        return self._dense_trains is None

    @cached_property
    def _dense_trains(self) -> list[torch.Size] | None:
        return self._trained(copied(self.model, lazy=True))

    def _trained(self, network: nn.Module, *, backwards: bool = True) -> list[torch.Size] | None:
        """Return the shapes of the outputs in training mode, after a step backwards; ``None`` where that fails."""
        try:
            with torch.random.fork_rng(devices=[]), torch.set_grad_enabled(backwards):
                torch.manual_seed(0)
                outputs = tensors_of(call(network.train(), self.full.inputs))
                loss = [t.sum() for t in outputs if t.requires_grad]
                if loss:
                    torch.autograd.grad(loss, [p for p in network.parameters() if p.requires_grad], allow_unused=True)
        except Exception:  # noqa: BLE001 - anything can be raised inside a stranger's forward, and says no
            return None
        return [t.shape for t in outputs]

    def _in_attention(self, name: str) -> bool:
        """Return whether a layer lies in PyTorch's own attention, which reads its weights without calling it."""
        return isinstance(self.model.get_submodule(name.rpartition(".")[0]), nn.MultiheadAttention)


def _variants(flow: Liveness, end: str, idle: frozenset[str], groups: Sequence[Group]) -> Iterator[Branch]:
    """Yield the ways in which a branch may be dropped, those that leave most in place first."""
    inside = tuple(g.name for g in groups if set(g.layers) <= {*idle, end})
    entry = next(n for n in flow.order if n in idle or n == end)
    strides = () if end in flow.channels_last else _strides(flow.inputs[entry], flow.outputs[end])
    for place in _places(flow, end, idle):
        others = tuple(n for n in flow.order if n in idle and not _related(n, place))
        for skipped in dict.fromkeys((_whole(flow, others, place), others)):
            returns = tuple((n, flow.returns[n]) for n in (place, *skipped) if n in flow.returns)
            for rounds_up in (True, False) if max(strides, default=1) > 1 else (True,):
                yield Branch(place, end, skipped, strides, rounds_up, inside, returns)


def _related(name: str, place: str) -> bool:
    return f"{name}.".startswith(f"{place}.") or place.startswith(f"{name}.")


def _whole(flow: Liveness, layers: Sequence[str], place: str) -> tuple[str, ...]:
    """Return for ``layers`` the largest modules that hold nothing else: what lies between layers goes with them."""

    def grown(name: str) -> str:
        parent = name.rpartition(".")[0]
        held = [n for n in flow.order if n.startswith(f"{parent}.") or n == parent]
        apart = parent in flow.called and not _related(parent, place)
        return grown(parent) if apart and set(held) <= set(layers) else name

    return tuple(dict.fromkeys(map(grown, layers)))


def _places(flow: Liveness, end: str, idle: frozenset[str]) -> Iterator[str]:
    """Yield the end itself, then ever larger modules around it that hold nothing else that matters."""
    yield end
    place = end.rpartition(".")[0]
    while place and all(n in idle or n == end for n in flow.order if n.startswith(f"{place}.")):
        yield place
        place = place.rpartition(".")[0]


def _strides(entry: torch.Size, output: torch.Size) -> tuple[int, ...]:
    if len(entry) < 4 or len(entry) != len(output):
        return ()
    return tuple(max(1, round(a / b)) for a, b in zip(entry[2:], output[2:], strict=True))
