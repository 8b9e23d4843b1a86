"""What a network costs on a device: devices, cost models, measuring and calibration.

Names are resolved on first use, so that reading a device's file imports neither an exporter nor a runtime.
:func:`estimate.estimate` and :func:`calibrate.calibrate` are imported from their modules, which bear their names.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Cost, CostModel, LayerCost
    from .device import Device, device_names, load_device
    from .estimate import COST_MODELS, cost_model_for
    from .kernels import Kernel, KernelGraph, record_kernels
    from .measured import Measurement, measure, measure_interleaved
    from .memory import peak_memory_bytes

__all__ = [
    "COST_MODELS",
    "Cost",
    "CostModel",
    "Device",
    "Kernel",
    "KernelGraph",
    "LayerCost",
    "Measurement",
    "cost_model_for",
    "device_names",
    "load_device",
    "measure",
    "measure_interleaved",
    "peak_memory_bytes",
    "record_kernels",
]

_HOMES = {
    "base": ("Cost", "CostModel", "LayerCost"),
    "device": ("Device", "device_names", "load_device"),
    "estimate": ("COST_MODELS", "cost_model_for"),
    "kernels": ("Kernel", "KernelGraph", "record_kernels"),
    "measured": ("Measurement", "measure", "measure_interleaved"),
    "memory": ("peak_memory_bytes",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
