"""ONNX Runtime on the CPU, the default: https://onnxruntime.ai."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from ...onnx.onnx_export import onnx_feed
from ..onnxruntime_session import RUNTIME, open_session, profile_nodes, runner, runtime_version
from .base import Network, ProfiledNode, Run, check_precision
from .onnx_files import onnx_file
from .timing import host_seconds


class OnnxRuntime:
    """Runs the ONNX file, at int8 with QuantizeLinear and DequantizeLinear fused into integer kernels."""

    name: str = RUNTIME
    precisions: tuple[str, ...] = ("fp32", "int8")

    def version(self) -> str:
        """Return the version of the installed library."""
        return runtime_version()

    def prepare(self, network: Network, *, threads: int) -> Run:
        """Return what runs the network once."""
        check_precision(self, network.precision)
        session = open_session(onnx_file(network, threads=threads), threads=threads)
        return runner(session, onnx_feed(network.example_input))

    def seconds(self, run: Run) -> float:
        """Return how long one call takes."""
        return host_seconds(run)

    def arrays(self, outputs: object) -> tuple[np.ndarray, ...]:
        """Return what a run returned as arrays."""
        return tuple(np.asarray(o) for o in cast(Any, outputs))

    def profile(self, network: Network, *, threads: int, seconds: float = 0.5) -> tuple[ProfiledNode, ...]:
        """Return the time of each kernel of the optimised graph, in execution order."""
        check_precision(self, network.precision)
        file = onnx_file(network, threads=threads)
        return profile_nodes(file, onnx_feed(network.example_input), threads=threads, seconds=seconds)
