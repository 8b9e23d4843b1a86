"""A device from what an agent brought back: a calibration, and the cost model fitted to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ....errors import InputError, describe
from ....spaces.graph.fingerprint import fingerprint
from ....spaces.graph.trace import trace
from ....spaces.policy import Policy
from ...task.task import Inputs
from ..calibrated import LEAST_NETWORKS, CalibratedDevice, calibrated_device
from ..calibration_table import Calibration, CalibrationRow, NetworkTiming, rows_of
from ..calibration_variants import VariantSource
from ..device import Limits, load_device
from ..kernel_shares import kernel_shares
from ..kernels import KernelGraph, record_kernels
from .kit import Kit, read_kit
from .results import Results, Timed, read_results

RUNTIME = "onnxruntime"
COMMAND = "espalier calibrate --import RESULTS --kit KIT"


@dataclass(frozen=True)
class Imported:
    """A device as its results tell it."""

    device: CalibratedDevice
    """Its ``measurements`` are all that was timed while the device was steady."""
    notes: tuple[str, ...]
    """What a user should know: networks that failed, a device that grew hot."""


@dataclass(frozen=True)
class _Measured:
    """One timed network with its kernels."""

    timed: Timed
    rows: tuple[CalibrationRow, ...]


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

    Its cost model is ``learned`` from the kernels timed there. The device states how far it is off on networks held
    out.

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
    return Imported(_device(name, found, calibration, measured), _notes(found))


def _steady(results: Results, kit: Kit) -> tuple[Timed, ...]:
    """Return what can be trusted, of the precisions that enough of it is there of."""
    precisions = dict.fromkeys(n.precision for n in kit.networks)
    by_precision = {p: [t for t in results.steady if t.network.precision == p] for p in precisions}
    enough = tuple(t for found in by_precision.values() if len(found) >= LEAST_NETWORKS for t in found)
    if not enough:
        counts = ", ".join(f"{len(found)} at {p}" for p, found in by_precision.items())
        got = f"{counts} timed while the device was steady, {len(results.failures)} refused by its runtime"
        reasons = "; ".join(sorted(set(results.failures.values()))[:1])
        remedy = f"Pack more networks, let the device cool, or heed the runtime. {reasons}".strip()
        raise InputError(describe(got, expected=f"at least {LEAST_NETWORKS} networks at a precision", remedy=remedy))
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
        found.append(_Measured(each, rows_of(number, graph, times, operators)))
    return found


def _timing(number: int, timed: Timed) -> NetworkTiming:
    network = timed.network
    return NetworkTiming(number, network.precision, _rounded(timed.latency_ms), _rounded(timed.spread), network.origin)


def _device(name: str, results: Results, calibration: Calibration, measured: Sequence[_Measured]) -> CalibratedDevice:
    multiple, why = _channel_multiple(measured)
    # Nothing is known of the device but what the agent saw: no limits, no power.
    unknown = {"limits": Limits(), "power_w": None, "runtime_flash_bytes": None, "runtime_ram_bytes": None}
    multiples = dict.fromkeys(calibration.precisions, multiple)
    base = load_device("host").model_copy(
        update={**unknown, "precisions": calibration.precisions, "channel_multiple": multiples}
    )
    base = base.model_copy(update={"channel_multiple_source": why})
    device = calibrated_device(calibration, name=name, base=base, command=COMMAND)
    governor = results.machine.get("governor")
    clock = f" Its clock governor was {governor}." if governor else ""
    return device.model_copy(update={"description": device.description + clock})


def _channel_multiple(measured: Sequence[_Measured]) -> tuple[int, str]:
    blocked = any(node.operator.startswith("Reorder") for m in measured for node in m.timed.nodes)
    host = load_device("host")
    if blocked:
        return host.alignment(
            "fp32"
        ), f"its profile shows ONNX Runtime's blocked layout; {host.channel_multiple_source}"
    return 4, "its profile shows no blocked layout; four fp32 lanes of a 128-bit vector, not measured"


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
