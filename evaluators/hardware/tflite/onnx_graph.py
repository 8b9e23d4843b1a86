"""An ONNX graph as operators and values, with what QuantizeLinear and DequantizeLinear say of them set apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ....errors import EvaluationError, describe
from .schema import Quantisation

_QUANTISE, _DEQUANTISE = "QuantizeLinear", "DequantizeLinear"


@dataclass(frozen=True)
class Constant:
    """Weights, as they are stored, and what they stand for where they are quantised."""

    data: np.ndarray
    quantisation: Quantisation | None = None


@dataclass(frozen=True)
class Node:
    """An operator that computes; its inputs and outputs are values of the network, quantised or not."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    """Empty for one left out."""
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def optional(self, index: int) -> str:
        """Return an input that may be left out, empty if it is."""
        return self.inputs[index] if index < len(self.inputs) else ""


class OnnxGraph:
    """An ONNX file, read for conversion.

    A value and its quantised forms are one value, which bears the name that it has where it is computed.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = onnx.shape_inference.infer_shapes(model).graph
        self._initialisers = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        self._add_constant_nodes(graph)
        self._producer = {output: node for node in graph.node for output in node.output}
        shapes = {v.name: _shape(v) for v in (*graph.value_info, *graph.input, *graph.output)}
        self._shapes = {self.value(name): shape for name, shape in shapes.items()} | shapes
        self._quantisations: dict[str, Quantisation] = {}
        self._note_quantisations(graph)
        self.inputs = tuple(i.name for i in graph.input if i.name not in self._initialisers)
        self.outputs = tuple(self.value(o.name) for o in graph.output)
        self.nodes = tuple(self._sorted(self._nodes(graph)))
        self.readers = Counter(name for node in self.nodes for name in node.inputs)
        self.readers.update(self.outputs)

    @property
    def quantised(self) -> bool:
        """Whether any value is."""
        return bool(self._quantisations)

    def value(self, name: str) -> str:
        """Return the name that a value has where it is computed."""
        node = self._producer.get(name)
        if node is None or node.op_type not in (_QUANTISE, _DEQUANTISE) or node.input[0] in self._initialisers:
            return name
        return self.value(node.input[0])

    def constant(self, name: str) -> Constant | None:
        """Return the constant of that name; ``None`` for what is computed."""
        if name in self._initialisers:
            return Constant(self._initialisers[name])
        node = self._producer.get(name)
        if node is not None and node.op_type == _DEQUANTISE and node.input[0] in self._initialisers:
            return Constant(self._initialisers[node.input[0]], self._parameters(node, activation=False))
        return None

    def quantisation(self, name: str) -> Quantisation | None:
        """Return how a computed value is stored; ``None`` at fp32."""
        return self._quantisations.get(name)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a value's shape, in ONNX's order of axes.

        Raises:
            EvaluationError: it is not known.
        """
        if name in self._shapes:
            return self._shapes[name]
        raise EvaluationError(
            describe(
                f"the shape of {name} is not known", expected="a network of fixed shapes", remedy="Export it anew."
            )
        )

    def reader(self, name: str) -> Node | None:
        """Return what alone reads a value; ``None`` where several do, or the caller of the network does."""
        if self.readers[name] != 1:
            return None
        return next((node for node in self.nodes if name in node.inputs), None)

    def _add_constant_nodes(self, graph: onnx.GraphProto) -> None:
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self._initialisers[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)

    def _note_quantisations(self, graph: onnx.GraphProto) -> None:
        for node in graph.node:
            if node.op_type == _QUANTISE:
                name = self.value(node.input[0])
                self._quantisations.setdefault(name, self._parameters(node, activation=True))

    def _parameters(self, node: onnx.NodeProto, *, activation: bool) -> Quantisation:
        scale = self._initialisers[node.input[1]].reshape(-1)
        zeros = self._initialisers[node.input[2]].reshape(-1) if len(node.input) > 2 else np.zeros_like(scale, np.int8)
        # TensorFlow Lite knows signed activations alone; ours are unsigned, as ONNX Runtime is faster so.
        shift = 128 if activation and zeros.dtype == np.uint8 else 0
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0) if scale.size > 1 else 0
        return Quantisation(tuple(map(float, scale)), tuple(int(z) - shift for z in zeros), axis)

    def _nodes(self, graph: onnx.GraphProto) -> Iterator[Node]:
        for node in graph.node:
            if node.op_type not in (_QUANTISE, _DEQUANTISE, "Constant"):
                attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
                inputs = tuple(self.value(name) if name else "" for name in node.input)
                yield Node(node.name or node.output[0], node.op_type, inputs, tuple(node.output), attributes)

    def _sorted(self, nodes: Iterator[Node]) -> Iterator[Node]:
        """Yield nodes after those that they read from: the quantiser appends what it adds."""
        waiting, known = list(nodes), {*self.inputs, ""}
        while waiting:
            ready = [n for n in waiting if all(i in known or self.constant(i) is not None for i in n.inputs)]
            if not ready:
                raise EvaluationError(
                    describe(
                        f"{waiting[0].name} reads what nothing computes", expected="a graph", remedy="Export it anew."
                    )
                )
            known.update(output for node in ready for output in node.outputs)
            waiting = [n for n in waiting if n not in ready]
            yield from ready


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
