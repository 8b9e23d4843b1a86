"""An ONNX file as a TensorFlow Lite file: fp32, or int8 with the very weights and scales of the ONNX file."""

from __future__ import annotations

import onnx

from . import weighted_operators  # noqa: F401 - it registers its conversions
from .builder import Builder
from .onnx_graph import OnnxGraph
from .operators import CONVERSIONS, unsupported
from .schema import TfliteGraph, serialise


def tflite_file(onnx_file: bytes) -> bytes:
    """Return an ONNX file as a TensorFlow Lite file.

    Images are (N, H, W, C) there, (N, C, H, W) in ONNX. Inputs and outputs of an int8 network are int8.

    Args:
        onnx_file: of fixed shapes; at int8 in the QDQ form, quantised throughout.

    Raises:
        EvaluationError: an operator is not among :data:`~.operators.CONVERSIONS`, or is left at fp32 at int8.
    """
    return serialise(tflite_graph(onnx_file))


def tflite_graph(onnx_file: bytes) -> TfliteGraph:
    """Return the graph that :func:`tflite_file` writes."""
    source = OnnxGraph(onnx.load_from_string(onnx_file))
    builder = Builder(source)
    inputs = tuple(builder.input(name) for name in source.inputs)
    for node in source.nodes:
        if node.operator not in CONVERSIONS:
            raise unsupported(node, "has no counterpart")
        if not builder.knows(node.outputs[0]):  # or it is an activation that was joined to what it reads
            CONVERSIONS.get(node.operator)(builder, node)
    builder.graph.inputs = inputs
    builder.graph.outputs = tuple(builder.number(name) for name in source.outputs)
    return builder.graph
