"""How far the outputs of two networks are apart. What compares nothing is no agreement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from .outputs import found_in

_LEAST_SCALE = 1e-4
"""An output that is smaller than this share of the largest one is compared at that scale: it is what cancels out."""


def values_of(outputs: Any) -> list[torch.Tensor]:
    """Return all outputs as tensors of double precision, plain numbers among them, detached."""
    found = found_in(outputs)
    numbers = [torch.tensor(number, dtype=torch.float64) for _, number in found.numbers]
    return [*(_wide(t) for _, t in found.tensors), *numbers]


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    plain = tensor.detach()
    if plain.layout != torch.strided:
        plain = plain.to_dense()
    if plain.is_quantized:
        plain = plain.dequantize()
    return torch.view_as_real(plain.to(torch.complex128)) if plain.is_complex() else plain.double()


def difference(found: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor]) -> float | None:
    """Return the largest difference relative to the largest value of the same output; ``None`` where nothing compares.

    Infinities that stand at the same places agree; anything else that is not finite is infinitely far.

    Args:
        found: of :func:`values_of`, of the same shapes as ``wanted``.
        wanted: what they should be.
    """
    if [t.shape for t in found] != [t.shape for t in wanted]:
        return math.inf
    scales = [_largest(t) for t in wanted]
    floor = _LEAST_SCALE * max(scales, default=0.0)
    worst, compared = 0.0, 0
    for one, other, scale in zip(found, wanted, scales, strict=True):
        same = (one == other) & one.isinf()
        apart = (one - other).abs()[~same]
        compared += apart.numel()
        if apart.numel():
            largest = float(apart.max())
            worst = max(worst, largest / (max(scale, floor) or 1.0)) if math.isfinite(largest) else math.inf
    return worst if compared else None


def _largest(values: torch.Tensor) -> float:
    finite = values[values.isfinite()]
    return float(finite.abs().max()) if finite.numel() else 0.0


def finite_alike(found: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor]) -> bool:
    """Return whether ``found`` has no value that is not finite but infinities, and these only where ``wanted`` may."""
    allowed = any(bool(t.isinf().any()) for t in wanted)
    return not any(bool(t.isnan().any()) or (not allowed and bool(t.isinf().any())) for t in found)
