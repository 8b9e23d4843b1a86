"""What a network with masked weights takes in a file with the stated sparse encoding.

The encoding is :meth:`espalier.spaces.masks.Mask.stored_bits`. The files of an export store the zeros like any other
number; an archive, or a runtime that reads such an encoding, is what the size is of. Latency and peak memory get no
credit: runtimes compute with zeros.
"""

from __future__ import annotations

import dataclasses

from torch import nn

from ..spaces.masks import Masks
from .counting import element_bytes, size_bytes
from .hardware.base import Cost


def sparse_size_bytes(model: nn.Module, masks: Masks, precision: str = "fp32") -> int:
    """Return the bytes of the parameters, masked weights in the stated encoding, the others as stored."""
    return size_bytes(model, precision) - masks.saved_bytes(element_bytes(precision))


def with_sparse_size(cost: Cost, masks: Masks) -> Cost:
    """Return ``cost`` with its size in the stated encoding, unless it is told with one already.

    Whether the network fits stays what it was: a device's flash holds what the runtime reads, which is the dense size.
    """
    if cost.dense_size_bytes is not None:  # told with an encoding already: a compiler's, which stored the zeros
        return cost
    saved = masks.saved_bytes(element_bytes(cost.precision))
    return dataclasses.replace(cost, size_bytes=cost.size_bytes - saved, dense_size_bytes=cost.size_bytes)
