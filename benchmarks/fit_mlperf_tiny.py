"""Three boards of MLPerf Tiny v1.1 with one runtime, X-CUBE-AI 8.1.0, fitted together.

There are four networks for each board, so little is left free. With one 32-bit load of four int8 inputs as the tile, a
network's cycles on board b are

    f_b x (tiled MACs x c_kind + weight bytes x w + bytes of kernels without MACs x e)

where convolutions and linear layers share c = 1 but for small deviations, a depthwise convolution has its own, and
weights cost the time to fetch them from flash, which is what makes linear layers slow. The error stated is that of
each network when it is held out on **all** boards. The starting values and their pulls were chosen with these errors in
view.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from mlperf_tiny_networks import NETWORKS
from scipy.optimize import least_squares

from espalier.evaluators.hardware.device import Device, Limits
from espalier.evaluators.hardware.fitting import fit_error
from espalier.evaluators.hardware.kernels import record_kernels
from espalier.evaluators.hardware.roofline import tiled_macs
from espalier.evaluators.hardware.speeds import Efficiencies, FitError, Quantity, Speeds, Tile

COMMAND = "python benchmarks/fit_devices.py"
MLPERF = (
    "MLPerf Tiny v1.1, closed division, STMicroelectronics, X-CUBE-AI v8.1.0, int8 "
    "(github.com/mlcommons/tiny_results_v1.1, Apache-2.0)"
)
TILE = Tile(
    input=4, output=1, source="one 32-bit load holds four int8 inputs; of 1, 2 and 4 the best on these networks"
)
TERMS = ("conv", "pointwise_conv", "linear", "depthwise_conv", "weights", "bytes")
START = np.log(np.array([1.0, 1.0, 1.0, 1.5, 0.7, 2.0]))
"""Cycles per MAC of each kind, per byte of weights, and per byte of the rest, all relative to the board's factor."""
SPREAD = np.array([0.07, 0.07, 0.07, 0.3, 0.3, 0.5])
NOISE = 0.05


@dataclass(frozen=True)
class Board:
    """A board and its data sheet."""

    system: str
    hertz: float
    core: str
    flash: int
    ram: int
    memory_source: str


BOARDS = {
    "cortex-m4": Board(
        "NUCLEO_L4R5ZI",
        120e6,
        "NUCLEO-L4R5ZI: Cortex-M4 at 120 MHz, 2 MB flash, 640 KB RAM",
        2 * 2**20,
        640 * 2**10,
        "STM32L4R5ZI data sheet: 2 Mbytes of flash, 640 Kbytes of SRAM; stack is not subtracted",
    ),
    "cortex-m7": Board(
        "NUCLEO_H7A3ZI_Q",
        280e6,
        "NUCLEO-H7A3ZI-Q: Cortex-M7 at 280 MHz, 2 MB flash, 1 MB of RAM in one piece",
        2 * 2**20,
        2**20,
        "STM32H7A3ZI data sheet: 2 Mbytes of flash, 1.4 Mbytes of RAM, of which 1 Mbyte of AXI SRAM is in one piece",
    ),
    "cortex-m33": Board(
        "NUCLEO_U575ZI_Q",
        160e6,
        "NUCLEO-U575ZI-Q: Cortex-M33 at 160 MHz, 2 MB flash, 768 KB of RAM in one piece",
        2 * 2**20,
        768 * 2**10,
        "STM32U575ZI data sheet: 2 Mbytes of flash, 786 Kbytes of SRAM, of which SRAM1 to 3, 768 Kbytes, follow on",
    ),
}


@dataclass(frozen=True)
class Row:
    """One published measurement."""

    board: str
    network: str
    latency_ms: float
    power_w: float


@dataclass(frozen=True)
class Fitted:
    """Cycles of each term, and each board's factor."""

    terms: np.ndarray
    boards: dict[str, float]

    def milliseconds(self, board: str, network: str) -> float:
        """Return a network's latency on a board."""
        return float(1e3 * self.boards[board] * (work(network) @ self.terms) / BOARDS[board].hertz)


def rows(data: Path) -> list[Row]:
    """Return the measurements of the three boards."""
    names = {board.system: name for name, board in BOARDS.items()}
    with (data / "mlperf_tiny_v1.1_results.csv").open(encoding="utf-8", newline="") as stream:
        found = [r for r in csv.DictReader(stream) if r["submitter"] == "STMicroelectronics" and r["system"] in names]
    return [
        Row(
            names[r["system"]],
            r["benchmark"],
            float(r["latency_ms"]),
            float(r["energy_uj"]) / float(r["energy_run_latency_ms"]) * 1e-3,
        )
        for r in found
    ]


@cache
def work(network: str) -> np.ndarray:
    """Return a network's tiled MACs by kind, its bytes of weights, and the bytes of its kernels without MACs."""
    build, shape = NETWORKS[network]
    found: dict[str, float] = dict.fromkeys(TERMS, 0.0)
    for kernel in record_kernels(build().eval(), torch.zeros(shape), fuse_additions=False).kernels:
        if kernel.macs:
            found[kernel.kind] += tiled_macs(kernel.work, TILE)
        else:
            found["bytes"] += kernel.bytes_moved(1)
        found["weights"] += kernel.weight_elements
    return np.array(list(found.values()))


def fit_rows(measured: Sequence[Row]) -> Fitted:
    """Fit terms and factors to ``measured``: least squares on log error, pulled to the starting values."""
    names = sorted({row.board for row in measured})
    place = np.array([names.index(row.board) for row in measured])
    matrix = np.array([work(row.network) for row in measured])
    cycles = np.log(np.array([row.latency_ms * 1e-3 * BOARDS[row.board].hertz for row in measured]))

    def residuals(parameters: np.ndarray) -> np.ndarray:
        terms, factors = parameters[: len(TERMS)], parameters[len(TERMS) :]
        errors = np.log(matrix @ np.exp(terms)) + factors[place] - cycles
        return np.concatenate([errors / NOISE, (terms - START) / SPREAD])

    found = least_squares(residuals, np.concatenate([START, np.zeros(len(names))])).x
    factors = np.exp(found[len(TERMS) :])
    return Fitted(np.exp(found[: len(TERMS)]), {n: float(f) for n, f in zip(names, factors, strict=True)})


def fit_board(name: str, data: Path) -> Device:
    """Return a board's device file, fitted to all rows, with the error of networks held out on all boards."""
    board, measured = BOARDS[name], rows(data)
    watts = [row.power_w for row in measured if row.board == name]
    source = f"{MLPERF}: {board.system}"
    return Device(
        name=name,
        description=(
            f"{board.core}. It runs int8: costs are of the network deployed as int8; accuracy is of the precision "
            "asked for."
        ),
        runtime="X-CUBE-AI",
        runtime_version="8.1.0",
        threads=1,
        precisions=("int8",),
        deployed_as={"fp32": "int8"},
        int8_scheme="u8s8",
        int8_scheme_source=(
            "Cortex-M with the DSP extension sums int8 products in 32 bits (SMLAD), so that weights keep all 8 bits"
        ),
        fuses_additions=False,
        channel_multiple={"int8": 4, "fp32": 4},
        channel_multiple_source="one 32-bit load holds four int8 values; not measured",
        limits=Limits(
            flash_bytes=Quantity(value=board.flash, source=board.memory_source),
            ram_bytes=Quantity(value=board.ram, source=board.memory_source),
        ),
        speeds={"int8": _speeds(fit_rows(measured), name)},
        power_w=Quantity(
            value=_rounded(mean(watts)),
            source=(
                f"mean of energy / latency over ad, ic, kws, vww, which lie between {1e3 * min(watts):.1f} and "
                f"{1e3 * max(watts):.1f} mW: {source}"
            ),
        ),
        fit={"int8": _network_out(name, measured, source)},
    )


def _speeds(fitted: Fitted, name: str) -> Speeds:
    board, factor = BOARDS[name], fitted.boards[name]
    terms: dict[str, float] = dict(zip(TERMS, fitted.terms.tolist(), strict=True))
    source = f"fitted to the twelve rows of three boards, pulled to nominal values: {MLPERF}"
    bandwidth = 4 * board.hertz
    per_byte = _rounded(1 / (4 * factor * terms["bytes"]))
    kinds = [term for term in TERMS if term not in ("weights", "bytes")]
    return Speeds(
        peak_macs_per_s=Quantity(
            value=2 * board.hertz,
            source=f"nominal: {board.hertz / 1e6:.0f} MHz, two 16-bit multiply-accumulates a cycle (SMLAD, Armv7E-M)",
        ),
        bandwidth_bytes_per_s=Quantity(value=bandwidth, source="nominal: one 32-bit load a cycle"),
        overhead_us=Quantity(value=1.0, source="nominal: about a hundred cycles to call a kernel; not measured"),
        weight_bytes_per_s=Quantity(value=_rounded(board.hertz / (factor * terms["weights"])), source=source),
        tile=TILE,
        efficiency=Efficiencies(
            values={
                **{kind: _rounded(1 / (2 * factor * terms[kind])) for kind in kinds},
                "elementwise": per_byte,
            },
            source=source,
        ),
    )


def _network_out(name: str, measured: Sequence[Row], source: str) -> FitError:
    mine = [row for row in measured if row.board == name]
    unseen = _predictions(mine, measured, lambda row, held: row.network == held.network)
    known = _predictions(mine, measured, lambda row, held: row is held)
    truth = np.array([row.latency_ms for row in mine])
    error = fit_error(
        unseen,
        truth,
        fitted=len(measured) - len(BOARDS),
        method="leave-network-out",
        source=source,
        command=f"{COMMAND} --device {name}",
    )
    return error.model_copy(update={"known_network_error": _rounded(float(np.max(np.abs(known / truth - 1))))})


def _predictions(mine: Iterable[Row], measured: Sequence[Row], drop: Any) -> np.ndarray:
    """Return the latency of each row, fitted to the rows that ``drop`` does not take away for it."""
    fits = ((held, fit_rows([row for row in measured if not drop(row, held)])) for held in mine)
    return np.array([fitted.milliseconds(held.board, held.network) for held, fitted in fits])


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
