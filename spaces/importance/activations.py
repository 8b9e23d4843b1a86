"""Mean absolute activations, watched by hooks on a copy of the network."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from ..graph.copying import copied
from ..inputs import call, tensors_of
from .criteria import Activations
from .samples import Samples


def mean_activations(model: nn.Module, samples: Samples) -> Activations:
    """Return the mean absolute value of each channel that layers read and write, over samples and positions.

    Args:
        model: left as it is; a copy runs, in eval mode.
        samples: their inputs are looked at, targets and loss are not.

    Returns:
        Means for each convolution, linear and embedding layer that ran as a module; a layer that ran several times (a
        shared one) has the mean over all its runs.
    """
    network = copied(model).eval()
    read, written = _Means(), _Means()
    for module in network.modules():
        dim = _channel_dimension(module)
        if dim is not None:
            module.register_forward_pre_hook(lambda m, a, k, d=dim: read.add(m, (a, k), d), with_kwargs=True)
            module.register_forward_hook(lambda m, a, output, d=dim: written.add(m, output, d))
    with torch.no_grad():
        for inputs, _ in samples.batches:
            call(network, inputs)
    return Activations(read.by_name(network), written.by_name(network))


def _channel_dimension(module: nn.Module) -> int | None:
    # Counted from the end: linear layers see (N, C) and (N, T, C), convolutions (N, C, ...) and (C, ...).
    if isinstance(module, nn.Linear | nn.Embedding):
        return -1
    return -1 - len(module.kernel_size) if isinstance(module, _ConvNd) else None


class _Means:
    """Running means by module."""

    def __init__(self) -> None:
        self._sums: dict[nn.Module, torch.Tensor] = {}
        self._counts: dict[nn.Module, int] = {}

    def add(self, module: nn.Module, values: Any, dim: int) -> None:
        """Take in the first floating-point tensor of ``values``, with channels along ``dim``; at once, as later
        layers may change it in place."""
        tensor = next((t for t in tensors_of(values) if t.is_floating_point() and t.dim() >= -dim), None)
        if tensor is None:
            return
        rows = tensor.detach().abs().movedim(dim, 0).flatten(1).float()
        self._sums[module] = self._sums.get(module, 0) + rows.sum(1)
        self._counts[module] = self._counts.get(module, 0) + rows.shape[1]

    def by_name(self, network: nn.Module) -> dict[str, torch.Tensor]:
        """Return the means, shape ``(channels,)``, under every name that a module has."""
        named = network.named_modules(remove_duplicate=False)
        return {name: self._sums[m] / max(1, self._counts[m]) for name, m in named if m in self._sums}
