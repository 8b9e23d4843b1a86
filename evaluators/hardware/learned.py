"""The learned cost model: fused kernels predicted one by one by trees fitted to a calibration, and summed.

The calibration's measurements are a CSV file beside the device's; fitting to them takes less than a second, so they are
all that is stored. How far it is off on networks held out is in the device's file, and is the interval that it tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import nn

from ...errors import InputError, describe
from ..counting import element_bytes
from ..task.task import Inputs
from .base import Cost, LayerCost
from .calibration_table import Calibration, CalibrationRow, rows_of
from .cost import build_cost, deployed_precision, layer_cost
from .device import Device
from .features import Array, shapes_of
from .kernel_regressor import KernelRegressor
from .kernels import KernelGraph, record_kernels
from .one_by_one import OneByOne


class LearnedModel(OneByOne):
    """Tells what a network costs from kernels of networks like it that were measured.

    Args:
        device: names the calibration's CSV file, and holds the error for each precision.
        calibration: the measurements, where they are at hand already.
    """

    source = "learned"

    def __init__(self, device: Device, calibration: Calibration | None = None) -> None:
        self.device = device
        self.calibration = calibration or calibration_of(device)
        self._regressors: dict[str, KernelRegressor] = {}

    def supports(self, precision: str) -> bool:
        """Return whether costs at this precision can be told."""
        deployed = self.device.deployed_precision(precision)
        return deployed in self.device.fit and deployed in self.calibration.precisions

    def estimate(
        self, model: nn.Module, example_input: Inputs, *, precision: str = "fp32", onnx: bytes | None = None
    ) -> Cost:
        """Return the cost of one forward pass of ``model`` on ``example_input`` (a batch of 1), layers included."""
        return self._cost(model, example_input, precision, onnx)

    def profile(
        self, model: nn.Module, example_input: Inputs, *, precision: str = "fp32", onnx: bytes | None = None
    ) -> tuple[LayerCost, ...]:
        """Return what each fused kernel costs, in execution order; layout changes are part of their neighbours."""
        deployed = self._deployed(precision)
        return self._layers(self._graph(model, example_input), deployed)

    def alignment(self, precision: str = "fp32") -> int:
        """Return the channel multiple worth searching on."""
        return self.device.alignment(precision)

    def regressor(self, precision: str) -> KernelRegressor:
        """Return what predicts kernels at a deployed precision; fitted at its first use."""
        if precision not in self._regressors:
            networks = list(self.calibration.of(precision).by_network().values())
            self._regressors[precision] = KernelRegressor.fit(networks, element_bytes=element_bytes(precision))
        return self._regressors[precision]

    def error(self, precision: str) -> float:
        """Return half the width of a latency's interval, as a fraction of it, at a deployed precision."""
        return self.device.fit[precision].interval_90

    def kernel_ms(self, networks: Sequence[Sequence[CalibrationRow]], precision: str) -> Array:
        """Return the latency of each kernel of several networks in ms, one network after the other."""
        return self.regressor(precision).predict(shapes_of(networks))

    def _cost(self, model: nn.Module, example_input: Inputs, precision: str, onnx: bytes | None) -> Cost:
        deployed = self._deployed(precision)
        graph = self._graph(model, example_input)
        layers = self._layers(graph, deployed)
        return build_cost(
            model,
            graph,
            self.device,
            precision=deployed,
            latency_ms=sum(layer.latency_ms or 0.0 for layer in layers),
            error=self.error(deployed),
            source=self.source,
            layers=layers,
            onnx=onnx,
        )

    def _graph(self, model: nn.Module, example_input: Inputs) -> KernelGraph:
        return record_kernels(model, example_input, fuse_additions=self.device.fuses_additions)

    def _layers(self, graph: KernelGraph, precision: str) -> tuple[LayerCost, ...]:
        rows = rows_of(0, graph, np.zeros(len(graph.kernels)).tolist(), [""] * len(graph.kernels))
        times = self.kernel_ms([rows], precision)
        pairs = zip(graph.kernels, times, strict=True)
        return tuple(layer_cost(kernel, precision=precision, latency_ms=float(time)) for kernel, time in pairs)

    def _deployed(self, precision: str) -> str:
        deployed = deployed_precision(self.device, precision)
        if not self.supports(precision):
            raise InputError(
                describe(
                    f"precision {precision} on {self.device.name}",
                    expected=f"one that was calibrated: {', '.join(self.calibration.precisions)}",
                    remedy="Calibrate this precision, too.",
                )
            )
        return deployed


def calibration_of(device: Device) -> Calibration:
    """Return the measurements that belong to a device.

    Raises:
        InputError: it names none, or the file is absent or malformed.
    """
    held = getattr(device, "measurements", None)
    if isinstance(held, Calibration):
        return held
    if device.calibration is None:
        remedy = "Run `espalier calibrate`, and use the device file that it writes."
        raise InputError(describe(f"{device.name} has no calibration", expected="one, to learn from", remedy=remedy))
    return Calibration.read(Path(device.calibration))
