"""Devices without a measurement to fit to: speeds from data sheets, and the error that this makes where it can be seen.

- ``scaled``: the speeds of a fitted device, all of them times the ratio of the nominal peaks.
- ``launched``: nominal peak and bandwidth, and the time to start kernels of a fitted device that executes eagerly.
- ``plain``: nominal peak times 0.4, nominal bandwidth.

Each is applied to devices that were measured and not used for it; that error is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fit_mlperf_tiny import BOARDS, NETWORKS, rows
from fit_nasbench201 import COMMAND, fit

from espalier.evaluators.hardware.device import Device, Limits
from espalier.evaluators.hardware.fitting import FitSample, fit_error, predict_ms
from espalier.evaluators.hardware.kernels import record_kernels
from espalier.evaluators.hardware.speeds import Efficiencies, FitError, Quantity, Speeds, Tile

UNMEASURED = "not fitted: this device was not measured. Latencies rank networks; take them for no more"
EFFICIENCY = 0.4


def scaled(origin: Speeds, peak: float, peak_source: str, name: str) -> Speeds:
    """Return ``origin`` with every rate times the ratio of the peaks."""
    ratio = peak / origin.peak_macs_per_s.value
    source = f"not fitted: as fitted to {name}, times the ratio of the nominal peaks"
    return Speeds(
        peak_macs_per_s=Quantity(value=peak, source=peak_source),
        bandwidth_bytes_per_s=Quantity(value=_rounded(origin.bandwidth_bytes_per_s.value * ratio), source=source),
        overhead_us=Quantity(value=_rounded(origin.overhead_us.value / ratio), source=source),
        tile=origin.tile,
        efficiency=Efficiencies(values=origin.efficiency.values, source=f"not fitted: as fitted to {name}"),
    )


def launched(origin: Speeds, peak: Quantity, bandwidth: Quantity, name: str) -> Speeds:
    """Return nominal rates with the time that ``origin`` takes to start kernels."""
    source = f"not fitted: as fitted to {name}"
    own, start = origin.overheads_us, origin.start_us
    return Speeds(
        peak_macs_per_s=peak,
        bandwidth_bytes_per_s=bandwidth,
        overhead_us=origin.overhead_us.model_copy(update={"source": source}),
        overheads_us=None if own is None else own.model_copy(update={"source": source}),
        start_us=None if start is None else start.model_copy(update={"source": source}),
        tile=origin.tile,
        efficiency=_plain_efficiency(),
    )


def plain(peak: Quantity, bandwidth: Quantity, tile: Tile) -> Speeds:
    """Return nominal rates."""
    return Speeds(
        peak_macs_per_s=peak,
        bandwidth_bytes_per_s=bandwidth,
        overhead_us=Quantity(value=1.0, source="nominal: not measured"),
        tile=tile,
        efficiency=_plain_efficiency(),
    )


def _plain_efficiency() -> Efficiencies:
    source = f"nominal: {EFFICIENCY} of the peak, about what convolutions reach on the Raspberry Pi 4; not fitted"
    return Efficiencies(values={"conv": EFFICIENCY, "elementwise": 1.0}, source=source)


def _scaling_error(data: Path, pairs: tuple[tuple[str, str], ...], device: str) -> FitError:
    """Return the error of scaling one fitted device's speeds to another, over the rows of the second."""
    predicted, measured = [], []
    for origin, target in pairs:
        there = fit(target, data)
        peak = there.device.speeds["fp32"].peak_macs_per_s.value
        speeds = scaled(fit(origin, data).device.speeds["fp32"], peak, "nominal, as in its file", origin)
        predicted.append(predict_ms(there.held_out, speeds, element_bytes=4))
        measured.append(_latencies(there.held_out))
    told = ", ".join(f"{a} to {b}" for a, b in pairs)
    return _error(
        predicted, measured, f"the same scaling applied to measured devices, from {told} (NAS-Bench-201)", device
    )


def _launching_error(data: Path, device: str) -> FitError:
    """Return the error of each eager device's kernel starts with the nominal rates of the other."""
    predicted, measured = [], []
    for origin, target in (("titan-rtx", "x86-avx512"), ("x86-avx512", "titan-rtx")):
        there = fit(target, data)
        own = there.device.speeds["fp32"]
        bandwidth = own.bandwidth_bytes_per_s
        speeds = launched(fit(origin, data).device.speeds["fp32"], own.peak_macs_per_s, bandwidth, origin)
        predicted.append(predict_ms(there.held_out, speeds, element_bytes=4))
        measured.append(_latencies(there.held_out))
    source = "kernel starts of titan-rtx with the rates of x86-avx512, and the reverse (NAS-Bench-201)"
    return _error(predicted, measured, source, device)


def _plain_error(data: Path, device: str) -> FitError:
    """Return the error of nominal rates on three microcontrollers."""
    found = rows(data)
    predicted = []
    for row in found:
        hertz = BOARDS[row.board].hertz
        speeds = plain(_quantity(2 * hertz), _quantity(4 * hertz), Tile(input=4, output=1, source="as in their files"))
        build, shape = NETWORKS[row.network]
        graph = record_kernels(build().eval(), _zeros(shape), fuse_additions=False)
        predicted.append(predict_ms([FitSample(graph.kernels, row.latency_ms)], speeds, element_bytes=1)[0])
    source = "the same nominal rates applied to cortex-m4, cortex-m7 and cortex-m33 (MLPerf Tiny v1.1)"
    return _error([np.array(predicted)], [np.array([row.latency_ms for row in found])], source, device)


def _error(predicted: list[np.ndarray], measured: list[np.ndarray], source: str, device: str) -> FitError:
    joined = np.concatenate(predicted), np.concatenate(measured)
    found = fit_error(
        *joined,
        fitted=0,
        method="nominal",
        source=f"of other devices: {source}",
        command=f"{COMMAND} --device {device}",
    )
    # Ranks across devices say nothing: the mean of each device's own is kept.
    ranks = [
        fit_error(p, m, fitted=0, method="nominal", source=source, command=COMMAND).spearman
        for p, m in zip(predicted, measured, strict=True)
    ]
    return found.model_copy(update={"spearman": _rounded(float(np.mean([rank or 0.0 for rank in ranks])))})


def _latencies(held_out: tuple[FitSample, ...]) -> np.ndarray:
    return np.array([row.latency_ms for row in held_out])


def _zeros(shape: tuple[int, ...]) -> Any:
    import torch

    return torch.zeros(shape)


def _quantity(value: float, source: str = "nominal, as in its file") -> Quantity:
    return Quantity(value=value, source=source)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _arm(data: Path, name: str, description: str, peak: Quantity, limits: Limits) -> Device:
    pairs = (("raspberry-pi-4", "pixel-3"), ("pixel-3", "raspberry-pi-4"))
    return _cpu(data, name, description, peak, limits, pairs, 4, "four fp32 lanes of 128-bit NEON; not measured")


def _cpu(
    data: Path,
    name: str,
    description: str,
    peak: Quantity,
    limits: Limits,
    pairs: tuple[tuple[str, str], ...],
    multiple: int,
    multiple_source: str,
) -> Device:
    origin = fit("pixel-3", data).device.speeds["fp32"]
    return Device(
        name=name,
        description=f"{description}. {UNMEASURED}.",
        runtime="unstated",
        runtime_version="unstated",
        threads=1,
        precisions=("fp32",),
        fuses_additions=False,
        channel_multiple={"fp32": multiple},
        channel_multiple_source=multiple_source,
        limits=limits,
        speeds={"fp32": scaled(origin, peak.value, peak.source, "pixel-3")},
        fit={"fp32": _scaling_error(data, pairs, name)},
    )


def raspberry_pi_5(data: Path) -> Device:
    """Return the Raspberry Pi 5, scaled."""
    peak = _quantity(19.2e9, "nominal: one Cortex-A76 core at 2.4 GHz, two 128-bit NEON pipes of four fp32 each (Arm)")
    limits = Limits(ram_bytes=_quantity(4e9, "the board's 4 GB model (raspberrypi.com)"))
    return _arm(data, "raspberry-pi-5", "Raspberry Pi 5 (Cortex-A76, 2.4 GHz)", peak, limits)


def phone_a76(data: Path) -> Device:
    """Return a phone with a Cortex-A76, scaled."""
    peak = _quantity(
        22.72e9, "nominal: one Kryo 485 Prime core, a Cortex-A76, at 2.84 GHz, two 128-bit NEON pipes of four fp32 each"
    )
    text = "A phone of the class of Snapdragon 855 (Cortex-A76, 2.84 GHz), extrapolated from a Pixel 3 (Cortex-A75)"
    return _arm(data, "phone-a76", text, peak, Limits())


def x86_avx2(data: Path) -> Device:
    """Return a processor with AVX2, scaled."""
    peak = _quantity(48e9, "nominal: one core at 3 GHz, two 256-bit FMA units of eight fp32 each (Intel, AVX2 and FMA)")
    pairs = (("raspberry-pi-4", "pixel-3"), ("pixel-3", "raspberry-pi-4"), ("pixel-3", "x86-avx512"))
    lanes = "eight fp32 lanes of AVX2; not measured"
    found = _cpu(data, "x86-avx2", "An x86 processor with AVX2 at 3 GHz", peak, Limits(), pairs, 8, lanes)
    source = "without VNNI, 16-bit sums of uint8 x int8 saturate unless weights keep to 7 bits"
    return found.model_copy(update={"int8_scheme": "u8s7", "int8_scheme_source": source})


def jetson_orin_nano(data: Path) -> Device:
    """Return the Jetson Orin Nano, with the kernel starts of the TITAN RTX."""
    origin = fit("titan-rtx", data).device.speeds["fp32"]
    peak = _quantity(0.64e12, "nominal: 1024 CUDA cores at 625 MHz, one fp32 FMA each (NVIDIA, Jetson Orin Nano 8GB)")
    bandwidth = _quantity(68e9, "68 GB/s of 128-bit LPDDR5 (NVIDIA, Jetson Orin Nano 8GB data sheet)")
    return Device(
        name="jetson-orin-nano",
        description=f"NVIDIA Jetson Orin Nano 8GB, its first release of 15 W; eager execution. {UNMEASURED}.",
        runtime="unstated",
        runtime_version="unstated",
        threads=1,
        precisions=("fp32",),
        fuses=False,
        channel_multiple={"fp32": 8},
        channel_multiple_source="nominal; not measured",
        limits=Limits(ram_bytes=_quantity(8e9, "8 GB, shared by processor and GPU (NVIDIA data sheet)")),
        speeds={"fp32": launched(origin, peak, bandwidth, "titan-rtx")},
        fit={"fp32": _launching_error(data, "jetson-orin-nano")},
    )


NOMINAL: dict[str, Callable[[Path], Device]] = {
    "raspberry-pi-5": raspberry_pi_5,
    "phone-a76": phone_a76,
    "x86-avx2": x86_avx2,
    "jetson-orin-nano": jetson_orin_nano,
}
"""What makes each device's file, from the folder of the measurements."""
