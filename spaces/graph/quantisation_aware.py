"""Networks prepared for quantisation-aware training (``torch.ao.quantization.prepare_qat``), as tracing needs them.

Their layers round weights and activations by scales that are observed as they run. A rounded value jumps where sums
differ in the last bit, so copies that are compared do not round, and copies that are followed do not observe. Layers
fused with a batch normalisation divide by its weight, which a mask sets to zero; in copies they compute the same in the
order in which it is written in the network.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .coupling import Tracker


def follow_scales_(network: nn.Module) -> None:
    """Let a copy that is followed round by the scales it has, in place; by channel only where each has its scale."""
    for module in _fake_quantisers(network):
        module.disable_observer()
        if module.is_per_channel and module.scale.numel() == 1:
            # It has not observed anything yet, and would give its buffers the size of what it is given.
            vars(module)["forward"] = _passed
    _unfuse_(network)


def compute_unrounded_(network: nn.Module) -> None:
    """Let a copy that is compared neither observe nor round, in place."""
    for module in _fake_quantisers(network):
        module.disable_observer()
        module.disable_fake_quant()
    _unfuse_(network)


def tie_observed(network: nn.Module, tracker: Tracker) -> None:
    """Unite the ranges that are observed for each channel with the channels' scales, whoever reads them."""
    names = {id(module): name for name, module in network.named_modules()}
    for module in _fake_quantisers(network):
        name, observer = names[id(module)], module.activation_post_process
        for end in ("min_val", "max_val"):
            size = module.scale.numel()
            if size > 1 and getattr(observer, end, torch.empty(0)).shape == (size,):
                ranges = tracker.atoms.of(f"{name}.activation_post_process.{end}", 0, size)
                tracker.atoms.unite_pairs(tracker.atoms.of(f"{name}.scale", 0, size), ranges)


def _fake_quantisers(network: nn.Module) -> list[Any]:
    if not _is_prepared(network):
        return []
    from torch.ao.quantization import FakeQuantize

    return [module for module in network.modules() if isinstance(module, FakeQuantize)]


def _is_prepared(network: nn.Module) -> bool:
    # Else a second goes into importing what few networks need.
    return any(type(module).__module__.startswith("torch.ao.") for module in network.modules())


def _unfuse_(network: nn.Module) -> None:
    if not _is_prepared(network):
        return
    from torch.ao.nn.intrinsic.qat import LinearBn1d
    from torch.ao.nn.intrinsic.qat.modules.conv_fused import _ConvBnNd

    plain = {_ConvBnNd: _convolved, LinearBn1d: _multiplied}
    for module in network.modules():
        forward = next((f for kind, f in plain.items() if isinstance(module, kind)), None)
        if forward is not None:
            module.__class__ = type(type(module).__name__, (type(module),), {"forward": forward})


def _passed(x: torch.Tensor) -> torch.Tensor:
    return x


def _convolved(self: Any, x: torch.Tensor) -> torch.Tensor:
    out = self.bn(self._conv_forward(x, self.weight_fake_quant(self.weight), self.bias))
    return F.relu(out) if "ReLU" in type(self).__name__ else out


def _multiplied(self: Any, x: torch.Tensor) -> torch.Tensor:
    return self.bn(F.linear(x, self.weight_fake_quant(self.weight), self.bias))
