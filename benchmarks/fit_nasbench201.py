"""Rooflines fitted to NAS-Bench-201 latencies: half of the rows fitted, half held out."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import nasbench201
import numpy as np
import torch

from espalier.evaluators.hardware.device import Device, Limits
from espalier.evaluators.hardware.fitting import FitSample, Prior, fit_error, fit_speeds, predict_ms
from espalier.evaluators.hardware.kernels import record_kernels
from espalier.evaluators.hardware.speeds import FitError, Quantity, Speeds, Tile

COMMAND = "python benchmarks/fit_devices.py"
ROWS = "published with HELP (Lee et al., NeurIPS 2021, github.com/HayeonLee/HELP, MIT)"
NO_TILES = Tile(input=1, output=1, source="the measured networks have 16, 32 and 64 channels, which tell no tiles")
LAUNCHED = {"weight": 0.02, "overhead_by_kind": True}
"""Options of priors for eager execution, in which starting kernels takes most of the time."""


@dataclass(frozen=True)
class Measured:
    """A device of the table and what is known of it beforehand."""

    name: str
    column: str
    title: str
    """As its source is cited."""
    runtime: nasbench201.Runtime
    prior: Prior
    facts: dict[str, Any] = field(default_factory=dict)
    """Fields of its file."""


RASPBERRY_PI_4 = Measured(
    name="raspberry-pi-4",
    column="raspi4_ms",
    title="a Raspberry Pi 4",
    runtime="compiled",
    prior=Prior(
        peak_macs_per_s=6e9,
        bandwidth_bytes_per_s=4e9,
        overhead_us=5,
        efficiency=0.4,
        peak_source="nominal: one Cortex-A72 core at 1.5 GHz, four fp32 multiply-accumulates per cycle (128-bit NEON)",
        tile=NO_TILES,
        weight=0.3,
    ),
    facts={
        "description": (
            "Raspberry Pi 4 (Cortex-A72, 1.5 GHz). The measurements state neither runtime nor threads; their speed, at "
            "most 2.4 GMAC/s, is that of one thread."
        ),
        "channel_multiple": {"fp32": 4},
        "channel_multiple_source": "four fp32 lanes of 128-bit NEON; not measured",
        "limits": Limits(ram_bytes=Quantity(value=4e9, source="the board's 4 GB model (raspberrypi.com)")),
    },
)
PIXEL_3 = Measured(
    name="pixel-3",
    column="pixel3_ms",
    title="a Google Pixel 3",
    runtime="compiled",
    prior=Prior(
        peak_macs_per_s=10e9,
        bandwidth_bytes_per_s=8e9,
        overhead_us=5,
        efficiency=0.4,
        peak_source="nominal: one Kryo 385 Gold core at 2.5 GHz, four fp32 multiply-accumulates a cycle (128-bit NEON)",
        tile=NO_TILES,
        weight=0.3,
    ),
    facts={
        "description": (
            "Google Pixel 3 (Snapdragon 845, Kryo 385 Gold, a Cortex-A75, 2.5 GHz). The measurements state neither "
            "runtime nor threads."
        ),
        "channel_multiple": {"fp32": 4},
        "channel_multiple_source": "four fp32 lanes of 128-bit NEON; not measured",
        "limits": Limits(ram_bytes=Quantity(value=4e9, source="the phone's 4 GB (Google, Pixel 3 specifications)")),
    },
)
XEON = Measured(
    name="x86-avx512",
    column="gold_6226_ms",
    title="an Intel Xeon Gold 6226",
    runtime="eager",
    prior=Prior(
        peak_macs_per_s=86.4e9,
        bandwidth_bytes_per_s=10e9,
        overhead_us=10,
        efficiency=0.4,
        peak_source=(
            "nominal: one core of an Intel Xeon Gold 6226 at 2.7 GHz, two 512-bit FMA units of 16 fp32 each "
            "(ark.intel.com)"
        ),
        tile=NO_TILES,
        rate_weight=0.1,
        **LAUNCHED,
    ),
    facts={
        "description": (
            "Intel Xeon Gold 6226 (AVX-512). The measurements state neither runtime nor threads. They show every "
            "operator executed by itself, as PyTorch does eagerly: small networks pay for starting kernels, not for "
            "their work."
        ),
        "fuses": False,
        "channel_multiple": {"fp32": 16},
        "channel_multiple_source": "sixteen fp32 lanes of AVX-512; not measured on this processor",
    },
)
TITAN = Measured(
    name="titan-rtx",
    column="titan_rtx_1_ms",
    title="an NVIDIA TITAN RTX, batch 1,",
    runtime="eager",
    prior=Prior(
        peak_macs_per_s=8.15e12,
        bandwidth_bytes_per_s=672e9,
        overhead_us=20,
        efficiency=0.5,
        peak_source="nominal: 16.3 TFLOPS at fp32 (NVIDIA, TITAN RTX specifications), two operations per MAC",
        tile=NO_TILES,
        rate_weight=3.0,
        **LAUNCHED,
    ),
    facts={
        "description": (
            "NVIDIA TITAN RTX. The measurements state no runtime; they show every operator executed by itself, as "
            "PyTorch does eagerly. At batch 1 these networks pay for starting kernels alone: peak, bandwidth and "
            "efficiencies are nominal, and no measurement tells of networks large enough to need them."
        ),
        "fuses": False,
        "channel_multiple": {"fp32": 8},
        "channel_multiple_source": "nominal; latency at batch 1 does not depend on the channels of small networks",
        "limits": Limits(ram_bytes=Quantity(value=24e9, source="24 GB of GDDR6 (NVIDIA, TITAN RTX specifications)")),
    },
)
DEVICES = {each.name: each for each in (RASPBERRY_PI_4, PIXEL_3, XEON, TITAN)}


@dataclass(frozen=True)
class Fit:
    """A fitted device with the rows that it was fitted to and those held out."""

    device: Device
    fitted: tuple[FitSample, ...]
    held_out: tuple[FitSample, ...]


@cache
def fit(name: str, data: Path) -> Fit:
    """Fit half of a device's rows, hold out the other half."""
    measured = DEVICES[name]
    source = f"NAS-Bench-201 latencies on {measured.title} {ROWS}"
    rows = samples(measured.column, measured.runtime, data)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()
    half = len(rows) // 2
    fitted, held_out = (tuple(rows[i] for i in part) for part in (order[:half], order[half:]))
    speeds = fit_speeds(fitted, measured.prior, source=f"fitted to {half} of: {source}", element_bytes=4)
    device = Device(
        name=name,
        runtime="unstated",
        runtime_version="unstated",
        threads=1,
        precisions=("fp32",),
        fuses_additions=False,
        speeds={"fp32": speeds},
        fit={"fp32": error_on(held_out, speeds, fitted=half, method="held-out", source=source, device=name)},
        **measured.facts,
    )
    return Fit(device, fitted, held_out)


def error_on(
    rows: tuple[FitSample, ...], speeds: Speeds, *, fitted: int, method: Any, source: str, device: str
) -> FitError:
    """Return how far ``speeds`` are off on measured rows."""
    return fit_error(
        predict_ms(rows, speeds, element_bytes=4),
        np.array([row.latency_ms for row in rows]),
        fitted=fitted,
        method=method,
        source=source,
        command=f"{COMMAND} --device {device}",
    )


def samples(column: str, runtime: nasbench201.Runtime, data: Path) -> list[FitSample]:
    """Return a column's rows with the kernels that ran."""
    path = data / "nasbench201_latency.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        latencies = {row["architecture"]: float(row[column]) for row in csv.DictReader(stream)}
    graphs = ((_kernels(architecture, runtime), latency) for architecture, latency in latencies.items())
    return [FitSample(kernels, latency) for kernels, latency in graphs if kernels is not None]


@cache
def _kernels(architecture: str, runtime: nasbench201.Runtime) -> tuple[Any, ...] | None:
    network = nasbench201.build(architecture, runtime)
    if network is None:
        return None
    image = torch.zeros(1, 3, 32, 32)
    return record_kernels(network, image, fuse_additions=False, fuse_any=runtime == "compiled").kernels
