"""What a network costs on an Ethos-U, as Arm's compiler says."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import nn

from ...errors import InputError, describe
from ..counting import count_params, size_bytes
from ..onnx.onnx_pinning import pinned
from ..onnx.quantisation import int8_elements, quantise_for_timing
from ..task.task import Inputs
from .base import Cost, LayerCost
from .cost import deployed_precision
from .device import Device
from .kernels import KernelGraph, record_kernels
from .node_matching import MatchedNode, layer_costs, match_nodes
from .one_by_one import OneByOne
from .runtimes.base import ProfiledNode
from .tflite.convert import tflite_file
from .vela import VelaReport, compile_network, require_vela

_ONNX_OPERATORS = {
    "Conv2D": "Conv",
    "Conv2DBias": "Conv",
    "DepthwiseConv2D": "Conv",
    "DepthwiseConv2DBias": "Conv",
    "FullyConnected": "Gemm",
}
_ADDED = re.compile(r"(/(requantised|scaled|padded|transposed|\d+)|_intermediate)+$")
"""What conversion and compiler append to the name of the operator that a value comes from."""


@dataclass(frozen=True)
class _Compiled:
    graph: KernelGraph
    onnx: bytes
    report: VelaReport

    def matched(self) -> tuple[MatchedNode, ...]:
        """Return each operator that the compiler tells of, with its kernel and its share of the latency."""
        layers = self.report.layers
        scale = self.report.latency_ms / (sum(layer.cycles for layer in layers) or 1.0)
        nodes = [
            ProfiledNode(_ADDED.sub("", n.name), _ONNX_OPERATORS.get(n.operator, n.operator), n.cycles * scale)
            for n in layers
        ]
        return match_nodes(nodes, self.graph.kernels, exported=self.onnx)


class VelaModel(OneByOne):
    """Compiles each network for the device and tells the compiler's cycles, SRAM and flash.

    The latency's interval has no width: the compiler gives one number, and how far it is from hardware is not stated.
    ``size_bytes`` is flash with the weights as the compiler encodes them, in which zeros take less; latency counts only
    those zeros that the compiler's own estimate counts.

    Raises:
        MissingExtraError: the compiler is not installed.
    """

    source = "vela"

    def __init__(self, device: Device) -> None:
        require_vela()
        self.device = device

    def supports(self, precision: str) -> bool:
        """Return whether costs at this precision can be told."""
        return self.device.deployed_precision(precision) == "int8"

    def estimate(
        self, model: nn.Module, example_input: Inputs, *, precision: str = "fp32", onnx: bytes | None = None
    ) -> Cost:
        """Return the cost of one forward pass of ``model`` on ``example_input`` (a batch of 1), layers included."""
        compiled = self._compiled(model, example_input, precision, onnx)
        graph, report = compiled.graph, compiled.report
        excess = self.device.excess(size_bytes=report.flash_bytes, peak_memory_bytes=report.sram_bytes)
        return Cost(
            latency_ms=report.latency_ms,
            latency_low=report.latency_ms,
            latency_high=report.latency_ms,
            source=self.source,
            size_bytes=report.flash_bytes,
            dense_size_bytes=size_bytes(model, "int8"),
            macs=graph.macs,
            params=count_params(model),
            peak_memory_bytes=report.sram_bytes,
            energy_mj=None if self.device.power_w is None else self.device.power_w.value * report.latency_ms,
            fits=not excess,
            excess=excess,
            precision="int8",
            layers=layer_costs(compiled.matched(), precision="int8"),
        )

    def profile(
        self, model: nn.Module, example_input: Inputs, *, precision: str = "fp32", onnx: bytes | None = None
    ) -> tuple[LayerCost, ...]:
        """Return what each operator costs, in execution order; cycles are scaled to sum up to the latency."""
        return layer_costs(self._compiled(model, example_input, precision, onnx).matched(), precision="int8")

    def matched(self, model: nn.Module, example_input: Inputs) -> tuple[float, tuple[MatchedNode, ...]]:
        """Return the latency in ms and each operator with its kernel: what a stand-in is fitted to."""
        compiled = self._compiled(model, example_input, "int8", None)
        return compiled.report.latency_ms, compiled.matched()

    def alignment(self, precision: str = "fp32") -> int:
        """Return the channel multiple worth searching on."""
        return self.device.alignment(precision)

    def _compiled(self, model: nn.Module, example_input: Inputs, precision: str, onnx: bytes | None) -> _Compiled:
        deployed_precision(self.device, precision)
        if self.device.vela is None:
            remedy = "Name accelerator, system_config and memory_mode there."
            raise InputError(describe(f"{self.device.name} has no field vela", expected="one", remedy=remedy))
        graph = record_kernels(model, example_input, fuse_additions=self.device.fuses_additions)
        # At fp32 the file given, if any, is not the one that is deployed; one made here has the same costs.
        given = onnx if onnx is not None and int8_elements(onnx) else None
        scheme = self.device.quantisation_scheme
        file = pinned(given, example_input) if given else quantise_for_timing(model, example_input, scheme=scheme)
        report = compile_network(tflite_file(file), self.device.vela)
        return _Compiled(graph, file, report)
