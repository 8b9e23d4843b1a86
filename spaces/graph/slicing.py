"""Copying a network with some positions of its tensors left out or zeroed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter

import numpy as np
import torch
from torch import nn

from ..architectures.attention import update_transformers_
from .attributes import apply_sizes
from .computed_weights import length_of, recompute_
from .copying import copied
from .groups import Group, layer_of
from .layers import update_sizes

Positions = dict[tuple[str, int], set[int]]
"""For (tensor name, dimension): indices along that dimension."""
Removed = Sequence[tuple[Group, Sequence[int]]]
"""Which channels of which groups are removed."""


def named_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return every parameter and buffer by its qualified name, shared ones under each of their names."""
    return {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }


def positions_of(removed: Iterable[tuple[Group, Iterable[int]]]) -> Positions:
    """Return the positions that belong to the given channels of each group."""
    return {key: set(found) for key, found in _gone(removed).items()}


def _gone(removed: Iterable[tuple[Group, Iterable[int]]]) -> dict[tuple[str, int], list[int]]:
    """Return the same as lists, in any order and perhaps with repeats: a policy has hundreds of thousands."""
    positions: dict[tuple[str, int], list[int]] = {}
    for group, channels in removed:
        gone = tuple(channels)
        if gone:
            pick = itemgetter(*gone, gone[0])  # of a single channel it would return no tuple
            for piece in group.slices:
                found = positions.setdefault((piece.tensor, piece.dim), [])
                found.extend(chain.from_iterable(pick(piece.positions)))
    return positions


def without(model: nn.Module, removed: Removed, *, lazy: bool = False) -> nn.Module:
    """Return a copy of ``model`` that lacks the channels ``removed``; nothing is shared with ``model``.

    The smaller tensors are put into the copy's memo, so that the removed weights are never copied. ``lazy`` is as for
    :func:`~espalier.spaces.graph.copying.copied`.
    """
    tensors = named_tensors(model)
    smaller: dict[str, torch.Tensor] = {}
    # The first dimension goes first: whole filters are dropped faster than columns of those that stay.
    for (name, dim), gone in sorted(_gone(removed).items(), key=lambda item: item[0][1]):
        if gone:
            smaller[name] = _drop(smaller.get(name, tensors[name]), dim, gone)
    memo: dict[int, object] = {id(tensors[name]): _like(tensors[name], tensor) for name, tensor in smaller.items()}
    pruned = copied(model, memo, lazy=lazy)
    forget(pruned)
    recompute_(pruned)
    apply_sizes(pruned, removed)
    changed = {id(tensors[name]) for name in smaller}
    for layer in dict.fromkeys(layer_of(name) for name, tensor in tensors.items() if id(tensor) in changed):
        update_sizes(pruned.get_submodule(layer))
    update_transformers_(pruned)
    return pruned


def zeroed(model: nn.Module, positions: Mapping[tuple[str, int], set[int]], *, lazy: bool = False) -> nn.Module:
    """Return a copy of ``model`` in which ``positions`` of parameters are zero: the masked twin of :func:`without`.

    Of a weight that weight norm computes only the lengths are zeroed: a direction of zeros has none, and gives NaN.
    ``lazy`` is as for :func:`~espalier.spaces.graph.copying.copied`.
    """
    twin = copied(model, lazy=lazy)
    forget(twin)
    parameters = dict(twin.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for (name, dim), gone in positions.items():
            direction = (length := length_of(name)) is not None and (length, dim) in positions
            if gone and name in parameters and not direction:
                parameters[name].index_fill_(dim, torch.tensor(sorted(gone)), 0)
    return twin


def forget(network: nn.Module) -> None:
    """Empty what modules keep of earlier passes, such as LeViT's attention biases, which would have the old sizes.

    A module that computes something once for evaluation overrides ``train`` to drop it; each keeps its own mode.
    """
    modes = [(module, module.training) for module in network.modules()]
    for module, _ in modes:
        if type(module).train is not nn.Module.train:
            module.train(True)
    for module, training in modes:
        module.training = training


def _drop(tensor: torch.Tensor, dim: int, gone: Sequence[int]) -> torch.Tensor:
    kept = np.ones(tensor.shape[dim], dtype=bool)
    kept[np.fromiter(gone, dtype=np.int64, count=len(gone))] = False
    return tensor.detach().index_select(dim, torch.from_numpy(np.flatnonzero(kept)).to(tensor.device))


def _like(original: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    # index_select gives channels-last weights in the default layout; keep what the network's owner chose.
    if tensor.dim() == 4 and original.is_contiguous(memory_format=torch.channels_last):
        tensor = tensor.contiguous(memory_format=torch.channels_last)
    if isinstance(original, nn.Parameter):
        return nn.Parameter(tensor, requires_grad=original.requires_grad)
    return tensor
