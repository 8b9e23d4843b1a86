"""OpenVINO on the CPU: https://docs.openvino.ai."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ....errors import EvaluationError, describe
from ...onnx.onnx_export import onnx_feed
from .base import Network, ProfiledNode, Run, check_precision, require
from .onnx_files import onnx_file
from .timing import host_seconds

_FIRST_RUNS = 5


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
        """Return the mean time of each kernel that ran, in execution order; what was fused or folded away is left out.

        The runtime tells the mean since the start, the first runs with it, which take up to a hundred times as long.
        So their share is taken off.
        """
        request, inputs = self._request(network, threads=threads, profiling=True)
        for _ in range(_FIRST_RUNS):
            request.infer(inputs, share_inputs=True)
        first = _means(request)
        start, count = time.perf_counter(), _FIRST_RUNS
        while count < 4 * _FIRST_RUNS or (count < 20 * _FIRST_RUNS and time.perf_counter() - start < seconds):
            request.infer(inputs, share_inputs=True)
            count += 1
        found = []
        for name, (operator, mean) in _means(request).items():
            later = (count * mean - _FIRST_RUNS * first.get(name, (operator, mean))[1]) / (count - _FIRST_RUNS)
            found.append(ProfiledNode(name, operator, max(later, 0.0)))
        return tuple(found)

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


def _means(request: Any) -> dict[str, tuple[str, float]]:
    """Return the operator and the mean milliseconds of each node that ran, by name."""
    ran = (info for info in request.profiling_info if "EXECUTED" in str(info.status))
    return {info.node_name: (info.node_type, info.real_time.total_seconds() * 1e3) for info in ran}


def _openvino() -> Any:
    return require("openvino", runtime="OpenVINO", extra="openvino")
