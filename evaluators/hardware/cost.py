"""A network's cost put together from its kernels, its latency and its device."""

from __future__ import annotations

from torch import nn

from ...errors import InputError, describe
from ..counting import count_params, element_bytes, size_bytes
from ..onnx.quantisation import float_elements
from .base import Cost, LayerCost
from .device import Device
from .kernels import Kernel, KernelGraph
from .memory import peak_memory_bytes


def deployed_precision(device: Device, precision: str) -> str:
    """Return the precision that costs are told at.

    Raises:
        InputError: the device neither runs ``precision`` nor says what it is deployed as.
    """
    element_bytes(precision)
    deployed = device.deployed_precision(precision)
    if deployed is None:
        raise InputError(
            describe(
                f"precision {precision} on {device.name}",
                expected=f"one of {', '.join((*device.precisions, *device.deployed_as))}",
                remedy="Choose another precision or device.",
            )
        )
    return deployed


def build_cost(
    model: nn.Module,
    graph: KernelGraph,
    device: Device,
    *,
    precision: str,
    latency_ms: float,
    error: float,
    source: str,
    layers: tuple[LayerCost, ...],
    onnx: bytes | None = None,
) -> Cost:
    """Return the whole cost of a network.

    Args:
        model: the network, for its parameters.
        graph: its fused kernels.
        device: for its limits and its power.
        precision: what the network is deployed at.
        latency_ms: of one input.
        error: half the width of the latency's interval, as a fraction of it.
        source: what told the latency.
        layers: what each kernel costs.
        onnx: the int8 file, if there is one: weights that it keeps at 32 bits are charged so.
    """
    size = size_bytes(model, precision) + _kept_in_fp32(precision, onnx)
    in_place = precision in device.in_place
    memory = peak_memory_bytes(graph, element_bytes=element_bytes(precision), in_place=in_place)
    excess = device.excess(size_bytes=size, peak_memory_bytes=memory)
    return Cost(
        latency_ms=latency_ms,
        latency_low=latency_ms * max(1 - error, 0.0),
        latency_high=latency_ms * (1 + error),
        source=source,
        size_bytes=size,
        macs=graph.macs,
        params=count_params(model),
        peak_memory_bytes=memory,
        energy_mj=None if device.power_w is None else device.power_w.value * latency_ms,
        fits=not excess,
        excess=excess,
        precision=precision,
        layers=layers,
    )


def _kept_in_fp32(precision: str, onnx: bytes | None) -> int:
    """Return what weights take beyond one byte per element, in bytes, as their operators cannot be quantised."""
    width = element_bytes(precision)
    return 0 if width == 4 or onnx is None else (4 - width) * float_elements(onnx)


def layer_cost(kernel: Kernel, *, precision: str, latency_ms: float | None = None) -> LayerCost:
    """Return one kernel's share of the cost."""
    moved = kernel.bytes_moved(element_bytes(precision))
    return LayerCost(kernel.layer, kernel.kind, kernel.macs, moved, latency_ms)
