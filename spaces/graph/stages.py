"""Stages of a network: runs of layers that work at one spatial resolution."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


def watch_sizes(network: nn.Module) -> dict[str, int]:
    """Return a dict that the next pass of ``network``, a copy of one's own, fills: positions in each layer's output."""
    sizes: dict[str, int] = {}

    def watch(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            output = output[0] if isinstance(output, tuple) else output  # of attention and recurrent layers
            if isinstance(output, torch.Tensor):
                sizes.setdefault(name, math.prod(output.shape[2:]) if output.dim() > 2 else 1)

        return hook

    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd | nn.MultiheadAttention | nn.RNNBase):
            module.register_forward_hook(watch(name))
    return sizes


def stages(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the stage of every convolution and linear layer, from 0 at the finest resolution.

    Layers whose output has no spatial dimensions stand in the last stage.
    """
    order = {size: i for i, size in enumerate(sorted(set(sizes.values()), reverse=True))}
    return {name: order[size] for name, size in sizes.items()}
