"""A device from what an agent brought back: a calibration, and the cost model fitted to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from ....errors import InputError, describe
from ....jsonfile import write_text
from ....spaces.fingerprint import fingerprint
from ....spaces.policy import Policy
from ....spaces.trace import trace
from ...counting import ELEMENT_BYTES
from ...task import Inputs
from ..calibration_table import Calibration, CalibrationRow, NetworkTiming, rows_of
from ..calibration_variants import VariantSource
from ..device import Device, FitError, Speeds, Tile, load_device
from ..fitting import FitSample, Prior, fit_error, fit_speeds, predict_ms
from ..kernel_shares import kernel_shares
from ..kernels import KernelGraph, record_kernels
from .kit import Kit, read_kit
from .results import Results, Timed, read_results

RUNTIME = "onnxruntime"
LEAST = 9
"""Networks per precision that a fit needs."""
COMMAND = "espalier calibrate --import RESULTS --kit KIT"
_TILES = ((1, 1), (1, 4), (4, 4), (1, 8), (8, 8), (1, 16), (16, 16))


@dataclass(frozen=True)
class Imported:
    """A device as its results tell it."""

    device: Device
    calibration: Calibration
    """Every trusted measurement, to be stored beside the device's file."""
    notes: tuple[str, ...]
    """What a user should know: networks that failed, a device that grew hot."""

    def write(self, path: Path) -> None:
        """Write the device's file, and the calibration beside it, which the file names.

        Raises:
            InputError: a calibration is there already.
        """
        table = path.with_suffix(".csv")
        if table.exists():
            remedy = "Name another device file; the calibration gets its name."
            raise InputError(describe(f"{table} exists already", expected="a new file", remedy=remedy))
        self.calibration.write(table)
        named = self.device.model_copy(update={"calibration": table.name})
        write_text(path, named.to_yaml())


@dataclass(frozen=True)
class _Measured:
    """One timed network with its kernels."""

    timed: Timed
    graph: KernelGraph
    rows: tuple[CalibrationRow, ...]

    @property
    def whole(self) -> FitSample:
        return FitSample(self.graph.kernels, self.timed.latency_ms)

    @property
    def samples(self) -> tuple[FitSample, ...]:
        weight = 1 / math.sqrt(len(self.rows))
        parts = zip(self.graph.kernels, self.rows, strict=True)
        return (self.whole, *(FitSample((k,), r.latency_ms, weight) for k, r in parts if r.latency_ms > 0))


def import_results(
    results: Path | str,
    kit: Path | str,
    model: nn.Module,
    example_input: Inputs,
    *,
    name: str,
    freeze: Sequence[str] = (),
) -> Imported:
    """Return the device that ran ``kit``, with a cost model fitted to ``results``.

    Two thirds of the networks fit it; the others tell its error, which the device states.

    Args:
        results: what the agent wrote.
        kit: the folder or zip file that it ran.
        model: the network that the kit was packed for.
        example_input: what it takes, a batch of 1.
        name: of the device.
        freeze: layers that a search never prunes, as when the kit was packed.

    Raises:
        InputError: the results are not of this kit or not whole, the network is another, or too few were timed.
    """
    packed = read_kit(kit)
    found = read_results(results, packed)
    steady = _steady(found, packed)
    measured = _measured(steady, packed, model, example_input, freeze)
    calibration = Calibration(
        runtime=RUNTIME,
        runtime_version=str(found.machine["onnxruntime"]),
        threads=found.threads,
        processor=found.device_name,
        subject=f"pruned variants of {packed.subject}",
        timings=tuple(_timing(number, m.timed) for number, m in enumerate(measured)),
        rows=tuple(row for m in measured for row in m.rows),
    )
    return Imported(_device(name, found, packed, measured), calibration, _notes(found))


def _steady(results: Results, kit: Kit) -> tuple[Timed, ...]:
    """Return what can be trusted, of the precisions that enough of it is there of."""
    precisions = dict.fromkeys(n.precision for n in kit.networks)
    by_precision = {p: [t for t in results.steady if t.network.precision == p] for p in precisions}
    enough = tuple(t for found in by_precision.values() if len(found) >= LEAST for t in found)
    if not enough:
        counts = ", ".join(f"{len(found)} at {p}" for p, found in by_precision.items())
        got = f"{counts} timed while the device was steady, {len(results.failures)} refused by its runtime"
        reasons = "; ".join(sorted(set(results.failures.values()))[:1])
        remedy = f"Pack more networks, let the device cool, or heed the runtime. {reasons}".strip()
        raise InputError(describe(got, expected=f"at least {LEAST} networks at a precision", remedy=remedy))
    return enough


def _measured(
    timed: Sequence[Timed], kit: Kit, model: nn.Module, example_input: Inputs, freeze: Sequence[str]
) -> list[_Measured]:
    if fingerprint(model) != kit.model_fingerprint:
        fault = f"the kit is of another network than the one given ({kit.subject})"
        remedy = "Name the task, with the weights, that the kit was packed for."
        raise InputError(describe(fault, expected=f"the network {kit.model_fingerprint[:12]}", remedy=remedy))
    source = VariantSource.of(model, example_input, trace(model, example_input, freeze=freeze))
    graphs: dict[Policy, KernelGraph] = {}
    found = []
    for number, each in enumerate(timed):
        policy = Policy.from_dict(each.network.policy)
        if policy not in graphs:
            variant = source.variant(policy, each.network.origin)
            graphs[policy] = record_kernels(variant.network, example_input)
        graph = graphs[policy]
        exported = kit.onnx(each.network)
        shares = kernel_shares(each.nodes, graph, exported=exported, latency_ms=each.latency_ms)
        times, operators = [_rounded(s.latency_ms) for s in shares], ["+".join(s.operators) for s in shares]
        found.append(_Measured(each, graph, rows_of(number, graph, times, operators)))
    return found


def _timing(number: int, timed: Timed) -> NetworkTiming:
    network = timed.network
    return NetworkTiming(number, network.precision, _rounded(timed.latency_ms), _rounded(timed.spread), network.origin)


def _device(name: str, results: Results, kit: Kit, measured: Sequence[_Measured]) -> Device:
    version = str(results.machine["onnxruntime"])
    source = (
        f"timed on {results.device_name} with ONNX Runtime {version}, {results.threads} thread(s): "
        f"pruned variants of {kit.subject}"
    )
    precisions = tuple(dict.fromkeys(m.timed.network.precision for m in measured))
    fits = {p: _fit([m for m in measured if m.timed.network.precision == p], p, source) for p in precisions}
    multiple, why = _channel_multiple(measured)
    governor = results.machine.get("governor")
    clock = f", clock governor {governor}" if governor else ""
    return Device(
        name=name,
        description=f"{results.device_name}{clock}, calibrated there on pruned variants of {kit.subject}.",
        runtime=RUNTIME,
        runtime_version=version,
        threads=results.threads,
        precisions=precisions,
        channel_multiple=dict.fromkeys(precisions, multiple),
        channel_multiple_source=why,
        speeds={p: speeds for p, (speeds, _) in fits.items()},
        fit={p: error for p, (_, error) in fits.items()},
    )


def _channel_multiple(measured: Sequence[_Measured]) -> tuple[int, str]:
    blocked = any(node.operator.startswith("Reorder") for m in measured for node in m.timed.nodes)
    host = load_device("host")
    if blocked:
        return host.alignment(
            "fp32"
        ), f"its profile shows ONNX Runtime's blocked layout; {host.channel_multiple_source}"
    return 4, "its profile shows no blocked layout; four fp32 lanes of a 128-bit vector, not measured"


def _fit(measured: Sequence[_Measured], precision: str, source: str) -> tuple[Speeds, FitError]:
    """Return the roofline of two thirds of the networks, and its error on the others."""
    size = ELEMENT_BYTES[precision]
    fitted = [m for i, m in enumerate(measured) if i % 3 != 2]
    held_out = [m.whole for i, m in enumerate(measured) if i % 3 == 2]
    samples = [sample for m in fitted for sample in m.samples]
    candidates = [
        fit_speeds(samples, _prior(samples, tile, source), source=source, element_bytes=size) for tile in _TILES
    ]

    def loss(speeds: Speeds) -> float:
        told = predict_ms([m.whole for m in fitted], speeds, element_bytes=size)
        return float(np.mean(np.abs(np.log(told / np.array([m.timed.latency_ms for m in fitted])))))

    best = min(candidates, key=loss)
    predicted = predict_ms(held_out, best, element_bytes=size)
    actual = np.array([s.latency_ms for s in held_out])
    error = fit_error(predicted, actual, fitted=len(fitted), method="held-out", source=source, command=COMMAND)
    return best, error


def _prior(samples: Sequence[FitSample], tile: tuple[int, int], source: str) -> Prior:
    fastest = max(sum(k.macs for k in s.kernels) / s.latency_ms for s in samples) * 1e3
    return Prior(
        peak_macs_per_s=float(f"{max(fastest, 1e6):.3g}"),
        bandwidth_bytes_per_s=5e9,
        overhead_us=5,
        efficiency=0.5,
        peak_source=f"the fastest kernel or network {source}",
        tile=Tile(input=tile[0], output=tile[1], source=f"the best of {_TILES} on what was fitted; {source}"),
    )


def _notes(results: Results) -> tuple[str, ...]:
    notes = []
    untrusted = len(results.timed) - len(results.steady)
    if untrusted:
        notes.append(
            f"{untrusted} of {len(results.timed)} networks were timed while the device was up to "
            f"{100 * results.drift:.0f} % slower than usual; they are left out. Let it cool and idle to have them."
        )
    if results.failures:
        file, reason = next(iter(results.failures.items()))
        notes.append(f"{len(results.failures)} networks did not run there; the first, {file}: {reason}")
    governor = results.machine.get("governor")
    if governor not in (None, "performance"):
        notes.append(f"The clock governor was {governor}: times vary with load. 'performance' keeps the clock steady.")
    return tuple(notes)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
