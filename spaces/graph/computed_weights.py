"""Weights that PyTorch's hooks compute before each forward pass, from parameters and buffers beside them.

Those are the masks of ``torch.nn.utils.prune`` and the first forms of weight norm and spectral norm. What was computed
last lies in the module as a plain tensor.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm


def recompute_(network: nn.Module) -> None:
    """Compute those weights again, from what their parameters and buffers are now; they had the sizes from before."""
    with torch.no_grad():
        for module, hook in list(_hooks(network)):
            if isinstance(hook, BasePruningMethod):
                setattr(module, str(hook._tensor_name), hook.apply_mask(module))
            elif isinstance(hook, WeightNorm):
                setattr(module, hook.name, hook.compute_weight(module))
            else:
                setattr(module, hook.name, hook.compute_weight(module, do_power_iteration=False))


def length_of(name: str) -> str | None:
    """Return the parameter that holds the lengths where ``name`` may hold the directions of weight norm."""
    if name.endswith(".original1"):
        return f"{name[:-1]}0"
    return f"{name[:-1]}g" if name.endswith("_v") else None


def _hooks(network: nn.Module) -> Iterator[tuple[nn.Module, BasePruningMethod | WeightNorm | SpectralNorm]]:
    for module in network.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, BasePruningMethod | WeightNorm | SpectralNorm):
                yield module, hook
