"""LiteRT, formerly TensorFlow Lite, with its XNNPACK delegate: https://ai.google.dev/edge/litert."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....errors import EvaluationError, UnsupportedError, describe
from ...onnx.onnx_export import onnx_feed
from ...onnx.quantisation import optimised
from ..tflite.convert import tflite_file
from ..tflite.layout import dequantised, quantised
from .base import Network, ProfiledNode, Run, check_precision, require
from .onnx_files import onnx_file
from .timing import host_seconds


class LiteRt:
    """Runs the network written as a TensorFlow Lite file; an int8 one takes and gives int8."""

    name: str = "litert"
    precisions: tuple[str, ...] = ("fp32", "int8")

    def version(self) -> str:
        """Return the version of the installed library."""
        from importlib.metadata import PackageNotFoundError, version

        _interpreter_module()
        try:
            return version("ai-edge-litert")
        except PackageNotFoundError:
            return version("ai-edge-litert-nightly")

    def prepare(self, network: Network, *, threads: int) -> Run:
        """Return what runs the network once."""
        check_precision(self, network.precision)
        module = _interpreter_module()
        file = onnx_file(network, threads=threads)
        content = tflite_file(optimised(file) if network.precision == "fp32" else file)
        try:
            interpreter = module.Interpreter(model_content=content, num_threads=threads)
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise EvaluationError(
                describe(
                    f"LiteRT {self.version()} refuses the network: {error}",
                    expected="a network whose operators it has",
                    remedy="Replace the operator named, or choose another runtime.",
                )
            ) from error
        _feed(interpreter, network)
        outputs = interpreter.get_output_details()

        def run() -> list[tuple[np.ndarray, tuple[float, int]]]:
            interpreter.invoke()
            return [(interpreter.get_tensor(o["index"]), o["quantization"]) for o in outputs]

        return run

    def seconds(self, run: Run) -> float:
        """Return how long one call takes."""
        return host_seconds(run)

    def arrays(self, outputs: object) -> tuple[np.ndarray, ...]:
        """Return what a run returned as arrays, as real numbers, images as (N, C, H, W)."""
        found: Any = outputs
        return tuple(dequantised(array, *parameters) for array, parameters in found)

    def profile(self, network: Network, *, threads: int, seconds: float = 0.5) -> tuple[ProfiledNode, ...]:
        """Refuse: its Python interface has no profiler."""
        raise UnsupportedError(
            describe("a profile by LiteRT", expected="a latency", remedy="Profile in onnxruntime or openvino.")
        )


def _feed(interpreter: Any, network: Network) -> None:
    feed = onnx_feed(network.example_input)
    for place in interpreter.get_input_details():
        interpreter.set_tensor(place["index"], quantised(feed[place["name"]], *place["quantization"]))


def _interpreter_module() -> Any:
    return require("ai_edge_litert.interpreter", runtime="LiteRT", extra="litert")
