"""Whether Torch-Pruning finds the channels that belong together, checked against a network where they are zeroed."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch_pruning as tp
from torch import nn

TOLERANCE = 1e-3
"""Of the largest output: far above rounding, far below what one wrong channel changes."""
_ACROSS_CHANNELS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def equals_twin(model: nn.Module, example_input: torch.Tensor, name: str) -> bool:
    """Return whether the group of layer ``name``, half of it cut, computes what it does with that half zeroed.

    A normalisation across channels makes the two differ in any case; such a group passes.
    """
    small, twin = copy.deepcopy(model).eval(), copy.deepcopy(model).eval()
    # Every other one: with the first half, channels that are moved by a padding happen to meet the right ones.
    half = list(range(0, width(small.get_submodule(name)), 2))
    if not _zero(twin, example_input, name, half):
        return True
    layer = small.get_submodule(name)
    tp.DependencyGraph().build_dependency(small, example_input).get_pruning_group(layer, removal(layer), half).prune()
    x = torch.rand((4, *example_input.shape[1:]), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        got, wanted = small(x), twin(x)
    return bool((got - wanted).abs().max() <= TOLERANCE * wanted.abs().max())


def width(layer: nn.Module) -> int:
    """Return how many outputs a layer has."""
    if isinstance(layer, nn.Conv2d):
        return layer.out_channels
    if isinstance(layer, nn.Linear):
        return layer.out_features
    raise TypeError(f"a layer of type {type(layer).__name__}; expected a Conv2d or a Linear")


def removal(layer: nn.Module) -> Any:
    """Return Torch-Pruning's function that removes outputs of such a layer."""
    return tp.prune_conv_out_channels if isinstance(layer, nn.Conv2d) else tp.prune_linear_out_channels


def _zero(model: nn.Module, example_input: torch.Tensor, name: str, channels: list[int]) -> bool:
    """Zero what makes the group's channels, in place; ``False`` where a normalisation mixes them with others."""
    layer = model.get_submodule(name)
    graph = tp.DependencyGraph().build_dependency(model, example_input)
    for item in graph.get_pruning_group(layer, removal(layer), channels):
        target = item.dep.target.module
        if isinstance(target, _ACROSS_CHANNELS):
            return False
        if graph.is_out_channel_pruning_fn(item.dep.handler):
            for parameter in target.parameters(recurse=False):
                parameter.data[item.idxs] = 0
    return True
