"""OpenVINO on the CPU: https://docs.openvino.ai."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ....errors import EvaluationError, describe
from ...onnx_export import onnx_feed
from .base import Network, ProfiledNode, Run, check_precision, require
from .node_times import median_by_node
from .onnx_files import onnx_file
from .timing import host_seconds


class OpenVino:
    """Reads the ONNX file; at int8 it fuses QuantizeLinear and DequantizeLinear itself."""

    name: str = "openvino"
    precisions: tuple[str, ...] = ("fp32", "int8")

    def version(self) -> str:
        """Return the version of the installed library, without its build number."""
        return str(_openvino().__version__).split("-")[0]

    def prepare(self, network: Network, *, threads: int) -> Run:
        """Return what runs the network once."""
        request, inputs = self._request(network, threads=threads, profiling=False)

        def run() -> list[np.ndarray]:
            return list(request.infer(inputs, share_inputs=True).values())

        return run

    def seconds(self, run: Run) -> float:
        """Return how long one call takes."""
        return host_seconds(run)

    def arrays(self, outputs: object) -> tuple[np.ndarray, ...]:
        """Return what a run returned as arrays."""
        found: Any = outputs
        return tuple(np.asarray(o) for o in found)

    def profile(self, network: Network, *, threads: int, seconds: float = 0.5) -> tuple[ProfiledNode, ...]:
        """Return the time of each kernel that ran, in execution order; what was fused or folded away is left out."""
        request, inputs = self._request(network, threads=threads, profiling=True)
        runs: list[list[tuple[str, str, float]]] = []
        start = time.perf_counter()
        while len(runs) < 5 or (len(runs) < 22 and time.perf_counter() - start < seconds):
            request.infer(inputs, share_inputs=True)
            ran = (i for i in request.profiling_info if "EXECUTED" in str(i.status))
            runs.append([(i.node_name, i.node_type, i.real_time.total_seconds() * 1e3) for i in ran])
        return median_by_node(runs[2:])

    def _request(self, network: Network, *, threads: int, profiling: bool) -> tuple[Any, dict[str, np.ndarray]]:
        check_precision(self, network.precision)
        openvino = _openvino()
        file = onnx_file(network, threads=threads)
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            # It would choose bfloat16 by itself where the processor has it.
            "INFERENCE_PRECISION_HINT": "f32",
            "PERF_COUNT": profiling,
        }
        try:
            core = openvino.Core()
            model = core.read_model(file)
            compiled = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise EvaluationError(
                describe(
                    f"OpenVINO {self.version()} refuses the network: {error}",
                    expected="a network whose operators it has",
                    remedy="Replace the operator named, or choose another runtime.",
                )
            ) from error
        used = {name for port in compiled.inputs for name in port.names}
        feed = {n: np.ascontiguousarray(a) for n, a in onnx_feed(network.example_input).items() if n in used}
        return compiled.create_infer_request(), feed


def _openvino() -> Any:
    return require("openvino", runtime="OpenVINO", extra="openvino")
