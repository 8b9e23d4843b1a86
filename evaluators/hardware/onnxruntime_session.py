"""ONNX Runtime sessions made for timing: threads pinned, denormals as zero, and the runtime's own profile."""

from __future__ import annotations

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from ...errors import EvaluationError, describe
from .runtimes.base import ProfiledNode

RUNTIME = "onnxruntime"
_FEW_RUNS = 13
_FEWEST_RUNS = 4
"""Of a profile, two to warm up included and counted from 0."""
_PATIENCE = 4


def runtime_version() -> str:
    """Return the version of ONNX Runtime installed."""
    import onnxruntime

    return str(onnxruntime.__version__)


def open_session(
    onnx: bytes,
    *,
    threads: int,
    profile_prefix: str | None = None,
    exact_products: bool = False,
    literal: bool = False,
    quiet: bool = False,
) -> Any:
    """Return a session on the CPU that runs kernels one after the other, each on ``threads`` threads.

    Threads do not spin while they wait, so that a session takes no time from another worker's; denormals count as zero.

    Args:
        onnx: the file.
        threads: per kernel.
        profile_prefix: of the runtime's own profile, where one is wanted.
        exact_products: whether an x86 processor without VNNI is to sum int8 products as one with VNNI does, in more
            time: the runtime then stores int8 weights as uint8.
        literal: whether nodes are run one by one as they stand in the file, none fused: int8 in fp32.
        quiet: whether what is raised anyway is kept from the error stream.

    Raises:
        EvaluationError: ONNX Runtime refuses the network.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_DISABLE_ALL if literal else levels.ORT_ENABLE_ALL
    options.log_severity_level = 4 if quiet else 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    if exact_products:
        options.add_session_config_entry("session.x64quantprecision", "1")
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile_prefix
    try:
        return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own exceptions share no base but Exception
        raise EvaluationError(
            describe(
                f"ONNX Runtime {runtime_version()} refuses the network: {error}",
                expected="a network whose operators it has",
                remedy="Replace the operator named.",
            )
        ) from error


def runner(session: Any, feed: Mapping[str, np.ndarray]) -> Callable[[], Any]:
    """Return a function that runs the session once on ``feed`` and returns the arrays of its outputs."""
    used = {i.name for i in session.get_inputs()}
    inputs = {name: np.ascontiguousarray(array) for name, array in feed.items() if name in used}

    def run() -> Any:
        return session.run(None, inputs)

    return run


def profile_nodes(
    onnx: bytes, feed: Mapping[str, np.ndarray], *, threads: int, runs: int = 100, seconds: float = 0.5
) -> tuple[ProfiledNode, ...]:
    """Return the typical time of each kernel by the runtime's own profiler, in execution order.

    Args:
        onnx: the exported network.
        feed: its inputs.
        threads: per kernel.
        runs: at most so many runs, after a warm-up of two.
        seconds: no new run starts after this time, unless there were fewer than a dozen; after four times as long
            three will do.
    """
    with tempfile.TemporaryDirectory(prefix="espalier-profile-") as folder:
        session = open_session(onnx, threads=threads, profile_prefix=str(Path(folder) / "profile"))
        run = runner(session, feed)
        start = time.perf_counter()
        for count in range(runs + 2):
            spent = time.perf_counter() - start
            if spent > seconds and count > (_FEW_RUNS if spent < _PATIENCE * seconds else _FEWEST_RUNS):
                break
            run()
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return _nodes(events)


def _nodes(events: list[dict[str, Any]]) -> tuple[ProfiledNode, ...]:
    times: dict[str, list[float]] = defaultdict(list)
    operators: dict[str, str] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            name = event["name"].removesuffix("_kernel_time")
            times[name].append(event["dur"] / 1e3)
            operators[name] = event["args"].get("op_name", "")
    chosen = _undisturbed([t[2:] or t for t in times.values()])
    return tuple(ProfiledNode(n, operators[n], _typical(t)) for n, t in zip(times, chosen, strict=True))


def _undisturbed(times: list[list[float]]) -> list[list[float]]:
    """Return the times of each node in the faster half of the runs: other work only ever adds to a run."""
    runs = len(times[0]) if times else 0
    if runs < 2 or any(len(t) != runs for t in times):  # a loop runs its nodes several times
        return times
    order = sorted(range(runs), key=lambda i: sum(t[i] for t in times))[: (runs + 1) // 2]
    return [[t[i] for i in order] for t in times]


def _typical(times: list[float]) -> float:
    """Return the mean of the middle half: the profiler tells whole microseconds, which a median would stay at."""
    ordered = sorted(times)
    cut = len(ordered) // 4
    return fmean(ordered[cut : len(ordered) - cut])
