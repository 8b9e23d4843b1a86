"""Sizes of a network that need no device: multiply-accumulates, parameters and stored bytes."""

from __future__ import annotations

from torch import nn

from ..errors import unknown_name
from .task.task import Inputs

ELEMENT_BYTES = {"fp32": 4, "int8": 1}
"""Bytes of one weight or activation, by precision."""


def count_macs(model: nn.Module, example_input: Inputs) -> int:
    """Return the multiply-accumulates of one forward pass on ``example_input`` (a batch of 1)."""
    from .hardware.kernels import record_kernels

    return record_kernels(model, example_input).macs


def count_params(model: nn.Module) -> int:
    """Return the number of parameters, shared ones once; buffers, such as running statistics, are none."""
    return sum(p.numel() for p in model.parameters())


def element_bytes(precision: str) -> int:
    """Return the bytes of one weight or activation.

    Raises:
        UnknownNameError: the precision is unknown; near names are suggested.
    """
    if precision not in ELEMENT_BYTES:
        raise unknown_name("precision", precision, ELEMENT_BYTES)
    return ELEMENT_BYTES[precision]


def size_bytes(model: nn.Module, precision: str = "fp32") -> int:
    """Return the bytes of the parameters as stored.

    At fp32 each parameter takes 4 bytes. At int8 each element of a weight (two dimensions or more) takes 1 byte and
    each of its output channels a 4-byte scale; biases and other vectors stay at 4 bytes per element.
    """
    width = element_bytes(precision)
    if width == 4:
        return 4 * count_params(model)
    return sum(p.numel() + 4 * p.shape[0] if p.dim() > 1 else 4 * p.numel() for p in model.parameters())
