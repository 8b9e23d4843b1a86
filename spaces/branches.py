"""Residual branches that can be dropped: what they add to their shortcut is then nothing.

Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016, arXiv:1603.09382, drop them while training; Chen and
Zhao, "Shallowing Deep Networks: Layer-wise Pruning based on Feature Representations", TPAMI 2019, for good.

A branch ends in a layer whose output can be zero without cutting the network's output off from its input; everything
that feeds this layer alone goes with it. Each branch found is compared with its masked twin before it is offered.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from .groups import Branch, Group
from .inputs import Inputs, call, tensors_of
from .verification import TOLERANCE

MOST_GROUPS = 64
"""Networks with more groups inside branches than this are not searched for branches: it would take minutes."""


class Absent(nn.Module):
    """Stands where a branch ended: zeros in the shape of what it would have added.

    Args:
        channels: of the output.
        strides: output size is input size divided by this, for each spatial dimension; empty where the channels are the
            last dimension.
        rounds_up: which way that is rounded.
    """

    def __init__(self, channels: int, strides: tuple[int, ...], *, rounds_up: bool = True) -> None:
        super().__init__()
        self.channels = channels
        self.strides = strides
        self.rounds_up = rounds_up

    def forward(self, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Return zeros, shape ``(N, channels, ...)`` or ``(N, ..., channels)``."""
        if not self.strides:
            return x.new_zeros((*x.shape[:-1], self.channels))
        pairs = zip(x.shape[2:], self.strides, strict=True)
        spatial = [(size + (stride - 1) * self.rounds_up) // stride for size, stride in pairs]
        return x.new_zeros((x.shape[0], self.channels, *spatial))


class Skipped(nn.Identity):
    """Stands for a layer that only a dropped branch needed."""


@dataclass
class _Run:
    """Which layers ran, in order, on what and to what."""

    order: list[str] = field(default_factory=list)
    inputs: dict[str, torch.Size] = field(default_factory=dict)
    outputs: dict[str, torch.Size] = field(default_factory=dict)
    repeated: set[str] = field(default_factory=set)


def with_branches(
    model: nn.Module, inputs: Inputs, groups: Sequence[Group], differs: Callable[[nn.Module, nn.Module], float | None]
) -> list[Group]:
    """Return ``groups`` with the branch, if any, that goes when a group's block is dropped.

    Args:
        model: a perturbed copy in eval mode, so that nothing is zero by chance.
        inputs: random ones.
        groups: sound groups.
        differs: how far two networks' outputs are apart, relative to the largest; ``None`` where one does not run.
    """
    ran = _observe(model, inputs)
    inner = [g for g in groups if set(g.layers) <= set(ran.order) and not set(g.layers) & ran.repeated]
    inner = [g for g in inner if ran.order[0] not in g.layers]
    if not inner or len(inner) > MOST_GROUPS:
        return list(groups)
    dead: dict[str, frozenset[str]] = {}
    for end in dict.fromkeys(e for g in inner for e in _ends(g, ran)):
        found = _dead(model, inputs, ran, end)
        if found is not None:
            dead[end] = found
    branches: dict[str, Branch] = {}
    for group in inner:
        whole = [end for end, layers in dead.items() if set(group.layers) <= {*layers, end}]
        end = max(whole, key=lambda e: len(dead[e]), default=None)
        if end is not None and end not in branches:
            branch = _verified(model, ran, end, dead[end], groups, differs)
            if branch is not None:
                branches[end] = branch
    first = {branch.groups[0]: branch for branch in branches.values()}
    return [replace(g, branch=first[g.name]) if g.name in first else g for g in groups]


def drop_(model: nn.Module, branch: Branch) -> None:
    """Drop ``branch`` from ``model``, in place."""
    width = next(model.get_submodule(branch.width_of).parameters(recurse=False)).shape[0]
    _put(model, branch.end, Absent(width, branch.strides, rounds_up=branch.rounds_up))
    for name in branch.skipped:
        _put(model, name, Skipped())


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def _observe(model: nn.Module, inputs: Inputs) -> _Run:
    ran = _Run()

    def hook(name: str) -> Callable[..., None]:
        def note(_module: nn.Module, args: Any, output: Any) -> None:
            if name in ran.outputs:
                ran.repeated.add(name)
            elif args and isinstance(args[0], torch.Tensor) and isinstance(output, torch.Tensor):
                ran.order.append(name)
                ran.inputs[name], ran.outputs[name] = args[0].shape, output.shape

        return note

    handles = [model.get_submodule(name).register_forward_hook(hook(name)) for name in _leaves(model)]
    try:
        with torch.no_grad():
            call(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return ran


def _leaves(model: nn.Module) -> list[str]:
    return [n for n, m in model.named_modules() if n and next(m.parameters(recurse=False), None) is not None]


def _ends(group: Group, ran: _Run) -> Iterator[str]:
    """Yield the group's last layer and the one that runs after it: a normalisation often ends a branch."""
    last = max(ran.order.index(layer) for layer in group.layers)
    yield from ran.order[last : last + 2]


def _dead(model: nn.Module, inputs: Inputs, ran: _Run, end: str) -> frozenset[str] | None:
    """Return the layers that only ``end`` needs, or ``None`` where nothing but ``end`` carries the input on."""
    network = copy.deepcopy(model)
    network.get_submodule(end).register_forward_hook(_silence)
    with torch.enable_grad():
        total = sum(t.sum() for t in tensors_of(call(network, inputs)) if t.requires_grad)
        if not isinstance(total, torch.Tensor):
            return None
        total.backward()
    dead = frozenset(name for name in ran.order if name != end and not _matters(network.get_submodule(name)))
    return None if ran.order[0] in dead or not dead else dead


def _silence(_module: nn.Module, _args: Any, output: Any) -> Any:
    return output * 0


def _matters(module: nn.Module) -> bool:
    return any(p.grad is not None and bool(p.grad.any()) for p in module.parameters(recurse=False))


def _verified(
    model: nn.Module,
    ran: _Run,
    end: str,
    dead: frozenset[str],
    groups: Sequence[Group],
    differs: Callable[[nn.Module, nn.Module], float | None],
) -> Branch | None:
    inside = tuple(g.name for g in groups if set(g.layers) <= {*dead, end})
    twin = copy.deepcopy(model)
    twin.get_submodule(end).register_forward_hook(_silence)
    for place in _places(model, ran, end, dead):
        covered = {n for n in dead if n == place or n.startswith(f"{place}.")}
        skipped = tuple(n for n in ran.order if n in dead and n not in covered)
        entry = next(n for n in ran.order if n in dead or n == end)
        strides = _strides(ran.inputs[entry], ran.outputs[end])
        for rounds_up in (True, False) if max(strides, default=1) > 1 else (True,):
            branch = Branch(place, end, skipped, strides, rounds_up, inside)
            small = copy.deepcopy(model)
            drop_(small, branch)
            difference = differs(small, twin)
            if difference is not None and difference <= TOLERANCE:
                return branch
    return None


def _places(model: nn.Module, ran: _Run, end: str, dead: frozenset[str]) -> Iterator[str]:
    """Yield the end itself, then ever larger modules around it that hold nothing else that matters."""
    yield end
    place = end.rpartition(".")[0]
    while place and all(n in dead or n == end for n in ran.order if n.startswith(f"{place}.")):
        yield place
        place = place.rpartition(".")[0]


def _strides(entry: torch.Size, output: torch.Size) -> tuple[int, ...]:
    if len(entry) < 4 or len(entry) != len(output):
        return ()
    return tuple(max(1, round(a / b)) for a, b in zip(entry[2:], output[2:], strict=True))
