"""The ONNX file of a network, for runtimes that read one."""

from __future__ import annotations

from ....errors import UnsupportedError, describe
from ...onnx.onnx_export import export_onnx
from ...onnx.onnx_pinning import pinned
from ...onnx.quantisation import quantise_for_timing
from .base import Network


def onnx_file(network: Network, *, threads: int = 1) -> bytes:
    """Return the file given, at the size of the example input, or one made from the network.

    An int8 one made here has wrong outputs.

    Raises:
        UnsupportedError: there is neither a file nor a network.
        EvaluationError: the network cannot be exported or quantised.
    """
    if network.onnx is not None:
        return pinned(network.onnx, network.example_input)
    if network.model is None:
        remedy = "Give one of the two."
        raise UnsupportedError(describe("neither a model nor an ONNX file", expected="a network", remedy=remedy))
    if network.precision == "int8":
        return quantise_for_timing(network.model, network.example_input, threads=threads, scheme=network.scheme)
    return export_onnx(network.model, network.example_input)
