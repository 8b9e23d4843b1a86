"""Tensors as they may leave this process: with their own elements, and nothing of what they were cut from.

A slice such as ``images[:1]`` shares the storage of ``images``. Whatever saves a storage, as ``torch.save``, pickle and
``torch.export.save`` do, saves all of it.
"""

from __future__ import annotations

import io
from collections.abc import MutableMapping
from typing import Any

import cloudpickle
import torch

from ...spaces.inputs import Inputs, map_tensors


def shares_more(tensor: torch.Tensor) -> bool:
    """Return whether the storage behind ``tensor`` holds more than its elements."""
    try:
        return tensor.untyped_storage().nbytes() > tensor.numel() * tensor.element_size()
    except (RuntimeError, NotImplementedError):  # sparse tensors and their like have no storage
        return False


def own_elements(tensor: torch.Tensor) -> torch.Tensor:
    """Return ``tensor`` if its storage holds nothing else, else a copy of its elements."""
    if not shares_more(tensor):
        return tensor
    copy = tensor.detach().clone(memory_format=torch.contiguous_format)
    if isinstance(tensor, torch.nn.Parameter):
        return torch.nn.Parameter(copy, requires_grad=tensor.requires_grad)
    return copy.requires_grad_(tensor.requires_grad)


def keep_own_elements(tensors: MutableMapping[str, Any]) -> None:
    """Replace each tensor of ``tensors`` that shares a larger storage, in place; equal ones stay one."""
    known: dict[int, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if isinstance(tensor, torch.Tensor) and shares_more(tensor):
            tensors[name] = known.setdefault(id(tensor), own_elements(tensor))


def stand_in(example_input: Inputs, *, seed: int = 0) -> Inputs:
    """Return an input to store in place of ``example_input``, which may be a sample of somebody's data.

    Floating-point numbers are drawn between the smallest and the largest of each tensor, so that they stay in the range
    of what they mean. Whole numbers are cut to at most 1: token ids become one token, masks stay as they are.
    """
    generator = torch.Generator().manual_seed(seed)
    return map_tensors(lambda tensor: _drawn_like(tensor, generator), example_input)


def _drawn_like(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    plain = tensor.detach().cpu()
    if not plain.numel() or plain.dtype == torch.bool or plain.is_complex():
        return torch.zeros_like(plain) if plain.is_complex() else plain.clone()
    if not plain.is_floating_point():
        return plain.clamp(min=-1 if plain.dtype.is_signed else 0, max=1).contiguous()
    least, most = plain.double().min(), plain.double().max()
    share = torch.rand(plain.shape, generator=generator, dtype=torch.float64)
    return (least + share * (most - least)).to(plain.dtype)


def dumps(value: Any) -> bytes:
    """Return ``value`` as cloudpickle writes it, each tensor with its own elements only."""
    with io.BytesIO() as stream:
        _Pickler(stream).dump(value)
        return stream.getvalue()


class _Pickler(cloudpickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if type(obj) in (torch.Tensor, torch.nn.Parameter) and shares_more(obj):
            return own_elements(obj).__reduce_ex__(2)
        return super().reducer_override(obj)
