"""Calling a network on whatever shape of input it takes: a tensor, a tuple of arguments or a dict of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_map

Inputs = torch.Tensor | tuple[Any, ...] | Mapping[str, Any]


def call(model: nn.Module, inputs: Inputs) -> Any:
    """Return ``model(inputs)``, with a tuple spread over positional arguments and a dict over named ones."""
    with separate_attention():
        if isinstance(inputs, Mapping):
            return model(**inputs)
        if isinstance(inputs, tuple | list):
            return model(*inputs)
        return model(inputs)


@contextmanager
def separate_attention() -> Iterator[None]:
    """Let PyTorch's attention and transformer layers run by their parts, which can be followed, timed and exported.

    Their fused kernel zeroes what is padded, which the parts do not, and hands over nested tensors, which fail hooks.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def tensors_of(outputs: Any) -> list[torch.Tensor]:
    """Return all tensors in a nested structure, in order."""
    return [leaf for leaf in tree_flatten(outputs)[0] if isinstance(leaf, torch.Tensor)]


def map_tensors(function: Any, inputs: Any) -> Any:
    """Return ``inputs`` with ``function`` applied to every tensor in it."""
    return tree_map(lambda leaf: function(leaf) if isinstance(leaf, torch.Tensor) else leaf, inputs)


def channels_last(inputs: Any) -> Any:
    """Return ``inputs`` with images, shape ``(N, C, H, W)``, laid out channels last, which CPUs convolve faster."""
    return map_tensors(
        lambda t: t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t,
        inputs,
    )


def network_channels_last(network: nn.Module) -> nn.Module:
    """Lay a network's weights out channels last, in place, to go with such images, and return it."""
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - missing in torch's stubs


def random_like(inputs: Inputs, generator: torch.Generator, *, batch: int = 2) -> Inputs:
    """Return inputs of the same shapes with ``batch`` samples: floats standard normal, others repeated as they are.

    An example input is often all zeros, which would hide most mistakes.
    """

    def draw(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dim() == 0:
            return tensor
        shape = (batch * tensor.shape[0], *tensor.shape[1:])
        if not tensor.is_floating_point():
            return tensor.repeat(batch, *[1] * (tensor.dim() - 1))
        return torch.randn(shape, generator=generator, dtype=tensor.dtype)

    return map_tensors(draw, inputs)
