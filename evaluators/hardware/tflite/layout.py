"""A network's inputs and outputs as TensorFlow Lite holds them."""

from __future__ import annotations

import numpy as np

from .builder import TO_FIRST, TO_LAST


def quantised(array: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """Return an input in TensorFlow Lite's layout, as int8 where there is a scale (0 means none)."""
    stored = array.transpose(TO_LAST) if array.ndim == 4 else array
    if scale:
        stored = np.clip(np.round(stored / scale) + zero_point, -128, 127).astype(np.int8)
    return np.ascontiguousarray(stored)


def dequantised(array: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """Return an output in PyTorch's layout, as real numbers."""
    real = (array.astype(np.float32) - zero_point) * np.float32(scale) if scale else array
    return real.transpose(TO_FIRST) if real.ndim == 4 else real
