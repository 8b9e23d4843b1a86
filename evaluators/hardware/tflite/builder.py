"""What every operator's conversion uses: values in TensorFlow Lite's layout, constants, requantisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ....errors import EvaluationError, describe
from .onnx_graph import Node, OnnxGraph
from .schema import Operator, Quantisation, Tensor, TfliteGraph

TO_LAST = (0, 2, 3, 1)
"""Axes of (N, C, H, W) in the order (N, H, W, C): all values of four axes are stored so."""
TO_FIRST = (0, 3, 1, 2)


class Builder:
    """A TensorFlow Lite graph in the making, and where each value of the ONNX graph lies in it."""

    def __init__(self, source: OnnxGraph) -> None:
        self.source = source
        self.graph = TfliteGraph()
        self._numbers: dict[str, int] = {}
        self.flattened: dict[str, tuple[int, int, int]] = {}
        """Values whose last axis runs over (H, W, C), where ONNX has (C, H, W), with these sizes in that order."""

    def input(self, name: str) -> int:
        """Add one of the network's inputs."""
        return self._remember(name, self._activation(name, name, self.source.quantisation(name)))

    def number(self, name: str) -> int:
        """Return the number of a value computed before."""
        return self._numbers[name]

    def knows(self, name: str) -> bool:
        """Return whether a value has been computed."""
        return name in self._numbers

    def is_constant(self, name: str) -> bool:
        """Return whether a value is a constant."""
        return self.source.constant(name) is not None

    def data(self, name: str) -> np.ndarray:
        """Return a constant's elements, as stored."""
        constant = self.source.constant(name)
        if constant is None:
            raise EvaluationError(
                describe(
                    f"{name} is computed", expected="a constant", remedy="TensorFlow Lite needs fixed weights here."
                )
            )
        return constant.data

    def constant(self, name: str, data: np.ndarray | None = None, *, axis: int | None = None) -> int:
        """Add a constant of the network.

        Args:
            name: of the constant in the ONNX graph.
            data: its elements in another order than stored.
            axis: that its scales run over in that order.
        """
        found = self.source.constant(name)
        stored = self.data(name) if data is None else data
        quantisation = None if found is None else found.quantisation
        if quantisation is not None and axis is not None and len(quantisation.scale) > 1:
            quantisation = Quantisation(quantisation.scale, quantisation.zero_point, axis)
        if quantisation is not None and stored.dtype == np.uint8:
            shifted = tuple(z - 128 for z in quantisation.zero_point)
            quantisation = Quantisation(quantisation.scale, shifted, quantisation.axis)
            stored = (stored.astype(np.int16) - 128).astype(np.int8)
        return self.graph.constant(name, stored, quantisation)

    def integers(self, name: str, values: Any) -> int:
        """Add a constant of 32-bit integers."""
        return self.graph.constant(name, np.array(values, dtype=np.int32))

    def emit(
        self,
        node: Node,
        code: str,
        inputs: tuple[int, ...],
        *,
        output: str | None = None,
        options: Mapping[str, Any] | None = None,
        like: int | None = None,
        quantisation: Quantisation | None = None,
    ) -> int:
        """Add an operator that computes ``output``, the node's own unless given.

        Where the operator forces its output's scale (``quantisation``, or that of the tensor ``like``) and the network
        has another one, a requantisation follows.
        """
        output = node.outputs[0] if output is None else output
        wanted = self.stored(node, output)
        forced = quantisation if like is None else self.graph.tensors[like].quantisation
        if wanted is None or forced is None or forced == wanted:
            number = self._activation(output, node.name, wanted)
            self._append(code, inputs, number, options)
            return self._remember(output, number)
        between = self._activation(output, f"{node.name}/scaled", forced)
        self._append(code, inputs, between, options)
        return self._remember(output, self.requantised(between, wanted, node.name))

    def stored(self, node: Node, output: str) -> Quantisation | None:
        """Return how an output is stored.

        Raises:
            EvaluationError: it is fp32 in a network that is quantised otherwise.
        """
        found = self.source.quantisation(output)
        if found is None and self.source.quantised:
            raise EvaluationError(
                describe(
                    f"{node.operator} ({node.name}) is left at fp32 by the quantisation",
                    expected="a network that is int8 throughout",
                    remedy="Replace the operator, or choose a device that runs fp32.",
                )
            )
        return found

    def requantised(self, number: int, wanted: Quantisation, name: str) -> int:
        """Return a tensor with the scale wanted: the one given, or a new one that an operator computes from it."""
        given = self.graph.tensors[number]
        if given.quantisation == wanted:
            return number
        added = self.graph.add(Tensor(f"{name}/requantised", given.shape, given.type, wanted))
        self._append("QUANTIZE", (number,), added, None)
        return added

    def intermediate(
        self, code: str, inputs: tuple[int, ...], tensor: Tensor, options: Mapping[str, Any] | None = None
    ) -> int:
        """Add an operator whose output the ONNX graph does not have, and return that output."""
        number = self.graph.add(tensor)
        self._append(code, inputs, number, options)
        return number

    def alias(self, output: str, number: int) -> None:
        """Let a value be one that is there already."""
        self._remember(output, number)

    def _activation(self, value: str, name: str, quantisation: Quantisation | None) -> int:
        shape = self.source.shape(value)
        if len(shape) == 4:
            shape = tuple(shape[axis] for axis in TO_LAST)
        return self.graph.add(Tensor(name, shape, "float32" if quantisation is None else "int8", quantisation))

    def _append(self, code: str, inputs: tuple[int, ...], output: int, options: Mapping[str, Any] | None) -> None:
        self.graph.operators.append(Operator(code, inputs, (output,), options or {}))

    def _remember(self, name: str, number: int) -> int:
        self._numbers[name] = number
        return number
