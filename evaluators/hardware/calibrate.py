"""This machine's roofline, fitted to what ONNX Runtime really takes here, with the error on networks held out."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ...errors import InputError, describe, unknown_name
from ...spaces.apply import prune
from ...spaces.policy import Policy
from ...spaces.trace import trace
from ..onnx_export import export_onnx, onnx_feed
from ..task import Inputs
from .calibration_networks import random_networks
from .device import Device, FitError, Speeds, Tile, load_device
from .fitting import FitSample, Prior, fit_error, fit_speeds, predict_ms
from .kernels import record_kernels
from .measured import measure_onnx
from .node_matching import match_nodes
from .onnxruntime_session import RUNTIME, profile_nodes, runtime_version
from .timing_lock import timing_lock

MIN_NETWORKS, MAX_NETWORKS = 9, 120
_TILES = ((1, 1), (1, 8), (8, 8), (1, 16), (16, 16))
_PROFILE_SECONDS = 0.1


@dataclass(frozen=True)
class _Timing:
    """One network's measured latency, and its kernels' shares of it by the runtime's profile."""

    whole: FitSample
    parts: tuple[FitSample, ...]


def calibrate(
    model: nn.Module | None = None,
    example_input: Inputs | None = None,
    *,
    runtime: str = RUNTIME,
    threads: int = 1,
    seconds: float = 60.0,
    seed: int = 0,
) -> Device:
    """Return this machine as a device: a roofline fitted to kernels timed here.

    Networks of random widths, all multiples of the host's channel multiple, are exported, measured and profiled:
    pruned variants of ``model`` where one is given, small convolutional networks otherwise. Two thirds fit the speeds;
    the other third tells the error, which the device states.

    Args:
        model: the network that costs are wanted for; ``None`` for networks in general.
        example_input: what it takes, a batch of 1.
        runtime: ``onnxruntime``.
        threads: per kernel.
        seconds: wall time; at least nine networks are timed whatever it is.
        seed: of the random widths.

    Raises:
        InputError: a model without an example input, or a number out of its range.
        UnknownNameError: another runtime.
        EvaluationError: the model cannot run or be exported.
    """
    _check(model, example_input, runtime, threads, seconds)
    start = time.perf_counter()
    multiple = load_device("host").alignment("fp32")
    networks = _networks(model, example_input, torch.Generator().manual_seed(seed), multiple)
    timings: list[_Timing] = []
    while len(timings) < MAX_NETWORKS:
        if len(timings) >= MIN_NETWORKS and time.perf_counter() - start > 0.95 * seconds:
            break
        timings.append(_timing(*next(networks), threads=threads))
    subject = "small convolutional networks" if model is None else "pruned variants of the network given"
    return _device(timings, threads=threads, multiple=multiple, subject=subject)


def _check(model: nn.Module | None, example_input: Inputs | None, runtime: str, threads: int, seconds: float) -> None:
    if runtime != RUNTIME:
        raise unknown_name("runtime", runtime, [RUNTIME])
    if (model is None) != (example_input is None):
        got = "a model without an example input" if example_input is None else "an example input without a model"
        raise InputError(describe(got, expected="both or neither", remedy="Give both."))
    if threads < 1 or not (math.isfinite(seconds) and seconds > 0):
        got = f"threads {threads} and seconds {seconds}"
        raise InputError(describe(got, expected="threads of 1 or more and seconds above 0", remedy="Correct them."))


def _networks(
    model: nn.Module | None, example_input: Inputs | None, generator: torch.Generator, multiple: int
) -> Iterator[tuple[nn.Module, Inputs]]:
    if model is None or example_input is None:
        yield from random_networks(generator, multiple=multiple)
        return
    graph = trace(model, example_input)
    while True:
        kept = {}
        for group in graph.groups:
            widths = group.widths(multiple)
            kept[group.name] = widths[int(torch.randint(len(widths), (), generator=generator))]
        yield prune(model, graph, Policy.from_kept(graph, kept)), example_input


def _timing(model: nn.Module, example_input: Inputs, *, threads: int) -> _Timing:
    kernels = record_kernels(model, example_input).kernels
    exported = export_onnx(model, example_input)
    latency = measure_onnx(exported, example_input, threads=threads).median_ms
    with timing_lock():
        nodes = profile_nodes(exported, onnx_feed(example_input), threads=threads, seconds=_PROFILE_SECONDS)
    total = sum(node.latency_ms for node in nodes)
    matched = [m for m in match_nodes(nodes, kernels, exported=exported) if m.kernel is not None]
    # The profiler slows every kernel a little: its times are shares, scaled to the latency measured without it.
    scale = latency / total if total else 1.0
    parts = tuple(
        FitSample((m.kernel,), m.node.latency_ms * scale, weight=1 / math.sqrt(len(matched)))
        for m in matched
        if m.kernel is not None and m.node.latency_ms > 0
    )
    return _Timing(FitSample(kernels, latency), parts)


def _device(timings: Sequence[_Timing], *, threads: int, multiple: int, subject: str) -> Device:
    held_out = timings[2::3]
    fitted = [t for i, t in enumerate(timings) if i % 3 != 2]
    version = runtime_version()
    source = f"timed on {_cpu_name()} with ONNX Runtime {version}, {threads} thread(s): {subject}"
    speeds = min((_fit(fitted, tile, source) for tile in _TILES), key=lambda s: _loss(fitted, s))
    error = _error(held_out, speeds, fitted=len(fitted), source=source)
    host = load_device("host")
    return Device(
        name="this-machine",
        description=f"{_cpu_name()}, calibrated on {subject} at widths in steps of {multiple}.",
        runtime=RUNTIME,
        runtime_version=version,
        threads=threads,
        precisions=("fp32",),
        channel_multiple={"fp32": multiple},
        channel_multiple_source=host.channel_multiple_source,
        speeds={"fp32": speeds},
        fit={"fp32": error},
    )


def _fit(timings: Sequence[_Timing], tile: tuple[int, int], source: str) -> Speeds:
    samples = [s for t in timings for s in (t.whole, *t.parts)]
    fastest = max(sum(k.macs for k in s.kernels) / s.latency_ms for s in samples) * 1e3
    prior = Prior(
        peak_macs_per_s=float(f"{max(fastest, 1e6):.3g}"),
        bandwidth_bytes_per_s=1e10,
        overhead_us=2,
        efficiency=0.5,
        peak_source=f"the fastest kernel or network {source}",
        tile=Tile(input=tile[0], output=tile[1], source=f"the best of {_TILES} on what was fitted; {source}"),
    )
    return fit_speeds(samples, prior, source=f"fitted; {source}", element_bytes=4)


def _loss(timings: Sequence[_Timing], speeds: Speeds) -> float:
    predicted, measured = _latencies(timings, speeds)
    return float(np.mean(np.abs(np.log(predicted / measured))))


def _latencies(timings: Sequence[_Timing], speeds: Speeds) -> tuple[np.ndarray, np.ndarray]:
    whole = [t.whole for t in timings]
    return predict_ms(whole, speeds, element_bytes=4), np.array([s.latency_ms for s in whole])


def _error(held_out: Sequence[_Timing], speeds: Speeds, *, fitted: int, source: str) -> FitError:
    predicted, measured = _latencies(held_out, speeds)
    return fit_error(predicted, measured, fitted=fitted, method="held-out", source=source, command="espalier calibrate")


def _cpu_name() -> str:
    """Return the processor's name as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine() or "an unnamed processor"
