"""The roofline: per fused kernel, the slower of computing and moving data, plus an overhead.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore architectures", 2009.
It ranks networks; how far off it is on networks that it was not fitted to is part of each device's file, and is the
width of the interval that it tells.
"""

from __future__ import annotations

import math

from torch import nn

from ..counting import element_bytes
from ..task.task import Inputs
from .base import Cost, LayerCost
from .cost import build_cost, deployed_precision, layer_cost
from .device import Device
from .kernels import Kernel, KernelGraph, record_kernels
from .one_by_one import OneByOne
from .operations import Work
from .speeds import Speeds, Tile


class RooflineModel(OneByOne):
    """Tells what a network costs on ``device`` from the speeds in the device's file."""

    source = "roofline"

    def __init__(self, device: Device) -> None:
        self.device = device

    def supports(self, precision: str) -> bool:
        """Return whether costs at this precision can be told."""
        deployed = self.device.deployed_precision(precision)
        return deployed is not None and deployed in self.device.speeds

    def estimate(
        self, model: nn.Module, example_input: Inputs, *, precision: str = "fp32", onnx: bytes | None = None
    ) -> Cost:
        """Return the cost of one forward pass of ``model`` on ``example_input`` (a batch of 1), layers included."""
        deployed = deployed_precision(self.device, precision)
        graph = self._graph(model, example_input)
        layers = self._layers(graph.kernels, deployed)
        return build_cost(
            model,
            graph,
            self.device,
            precision=deployed,
            latency_ms=start_ms(self.device.speeds[deployed]) + sum(layer.latency_ms or 0.0 for layer in layers),
            error=self.device.fit[deployed].interval_90,
            source=self.source,
            layers=layers,
            onnx=onnx,
        )

    def profile(
        self, model: nn.Module, example_input: Inputs, *, precision: str = "fp32", onnx: bytes | None = None
    ) -> tuple[LayerCost, ...]:
        """Return what each fused kernel costs, in execution order."""
        deployed = deployed_precision(self.device, precision)
        return self._layers(self._graph(model, example_input).kernels, deployed)

    def alignment(self, precision: str = "fp32") -> int:
        """Return the channel multiple worth searching on."""
        return self.device.alignment(precision)

    def _graph(self, model: nn.Module, example_input: Inputs) -> KernelGraph:
        device = self.device
        return record_kernels(model, example_input, fuse_additions=device.fuses_additions, fuse_any=device.fuses)

    def _layers(self, kernels: tuple[Kernel, ...], precision: str) -> tuple[LayerCost, ...]:
        speeds = self.device.speeds[precision]
        width = element_bytes(precision)
        return tuple(
            layer_cost(k, precision=precision, latency_ms=1e3 * kernel_seconds(k, speeds, element_bytes=width))
            for k in kernels
        )


def start_ms(speeds: Speeds) -> float:
    """Return the milliseconds that a network takes beside its kernels."""
    return 0.0 if speeds.start_us is None else speeds.start_us.value * 1e-3


def kernel_seconds(kernel: Kernel, speeds: Speeds, *, element_bytes: int) -> float:
    """Return the seconds that one kernel takes."""
    efficiency = speeds.efficiency.of(kernel.kind)
    moving = kernel.bytes_moved(element_bytes) / speeds.bandwidth_bytes_per_s.value
    overhead = speeds.overhead_of(kernel.kind) * 1e-6
    if speeds.weight_bytes_per_s is not None:
        overhead += kernel.weight_elements * element_bytes / speeds.weight_bytes_per_s.value
    if kernel.macs == 0:
        return moving / efficiency + overhead
    computing = tiled_macs(kernel.work, speeds.tile) / (speeds.peak_macs_per_s.value * efficiency)
    return max(computing, moving) + overhead


def tiled_macs(work: Work, tile: Tile) -> float:
    """Return the MACs with the channels of each group rounded up to whole tiles.

    A depthwise convolution has one channel per group: its tiles run over the groups.
    """
    if work.kind == "depthwise_conv":
        return work.macs * _rounding(work.out_channels, tile.output)
    inputs, outputs = work.in_channels // work.groups, work.out_channels // work.groups
    return work.macs * _rounding(inputs, tile.input) * _rounding(outputs, tile.output)


def _rounding(channels: int, tile: int) -> float:
    return math.ceil(channels / tile) * tile / channels if channels else 1.0
