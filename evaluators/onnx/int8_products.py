"""The products of an int8 file: convolutions and matrix products of small integers, and their exact results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import Tensor

from .onnx_graph import readers_of
from .quantisation_scheme import LARGEST_SAFE_WEIGHT


@dataclass(frozen=True)
class Quantised:
    """A tensor of small integers, and what they stand for: ``(integer - zero) * scale``."""

    name: str
    scale: np.ndarray
    zero: np.ndarray
    axis: int
    """Along which scales and zeros differ, where there is more than one."""
    parameters: tuple[str, str]
    """The names of scale and zero."""

    def real(self, integers: np.ndarray) -> Tensor:
        """Return what ``integers`` stand for, in double precision, where sums of products stay exact integers."""
        shape = [1] * integers.ndim
        if self.scale.size > 1:
            shape[self.axis] = -1
        zero, scale = (a.astype(np.float64).reshape(shape) for a in (self.zero, self.scale))
        return torch.from_numpy((integers.astype(np.float64) - zero) * scale)

    def stored(self, real: np.ndarray) -> np.ndarray:
        """Return the integers that ``real``, whole multiples of the one scale, stand for."""
        levels = np.rint(real.astype(np.float64) / self.scale.astype(np.float64)) + self.zero.astype(np.float64)
        return levels.astype(self.zero.dtype)

    def node(self, operator: str, given: str, result: str) -> onnx.NodeProto:
        """Return the node that quantises to these integers, or dequantises them."""
        return onnx.helper.make_node(operator, [given, *self.parameters], [result], axis=self.axis)


@dataclass(frozen=True)
class Product:
    """A convolution or matrix product of two quantised tensors."""

    node: onnx.NodeProto
    left: Quantised
    right: Quantised
    bias: Quantised | None
    output: Quantised
    """As it is stored: rounded, and cut at the ends of its range."""

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.node.name or self.node.output[0]

    @property
    def result(self) -> str:
        """The name of what a processor made of it, apart from the operand of the next product."""
        return f"{self.output.name} of {self.name}"

    def exact(self, stored: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the output in levels of its scale, neither rounded nor cut, from the integers ``stored`` by name."""
        left, right = self.left.real(stored[self.left.name]), self.right.real(stored[self.right.name])
        bias = None if self.bias is None else self.bias.real(stored[self.bias.name])
        found = OPERATORS[self.node.op_type](left, right, bias, _attributes(self.node))
        return found.numpy() / self.output.scale.astype(np.float64) + self.output.zero

    def off_by(self, stored: Mapping[str, np.ndarray]) -> float:
        """Return the largest difference of the stored output to the exact one, in levels."""
        found = stored[self.result]
        ends = np.iinfo(found.dtype)
        return float(np.abs(found - np.clip(self.exact(stored), ends.min, ends.max)).max())


def products(model: onnx.ModelProto) -> tuple[Product, ...]:
    """Return the convolutions and matrix products whose operands and result are stored as integers."""
    graph, constants, readers = model.graph, constants_of(model), readers_of(model.graph)
    sources = {name: node for node in graph.node for name in node.output}
    found: list[Product] = []
    for node in graph.node:
        if node.op_type not in OPERATORS or _attributes(node).get("auto_pad", b"NOTSET") != b"NOTSET":
            continue
        operands = [_read(sources.get(name), constants) for name in node.input if name]
        left, right, bias = (*operands, None)[:3]
        output = _written(readers[node.output[0]], constants)
        if left is not None and right is not None and output is not None and None not in operands:
            found.append(Product(node, left, right, bias, output))
    return tuple(found)


def can_saturate(onnx_file: bytes) -> bool:
    """Return whether a processor that sums pairs of uint8 x int8 products in 16 bits may compute something else.

    Told from the stored integers alone, whatever the inputs: with none further from zero than 64 it cannot. Activations
    of int8 are no way out: on x86 ONNX Runtime 1.31 makes them uint8 before it multiplies.
    """
    tensors = onnx.load_from_string(onnx_file).graph.initializer
    stored = (numpy_helper.to_array(t) for t in tensors if t.data_type == onnx.TensorProto.INT8 and t.dims)
    return any(np.abs(array.astype(np.int16)).max(initial=0) > LARGEST_SAFE_WEIGHT for array in stored)


def constants_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _read(node: onnx.NodeProto | None, constants: Mapping[str, np.ndarray]) -> Quantised | None:
    if node is None or node.op_type != "DequantizeLinear":
        return None
    return _quantised(node, node.input[0], constants)


def _written(readers: Sequence[onnx.NodeProto], constants: Mapping[str, np.ndarray]) -> Quantised | None:
    """Return what a product's result is stored as, where nothing else reads it."""
    if len(readers) != 1 or readers[0].op_type != "QuantizeLinear":
        return None
    return _quantised(readers[0], readers[0].output[0], constants)


def _quantised(node: onnx.NodeProto, name: str, constants: Mapping[str, np.ndarray]) -> Quantised | None:
    if len(node.input) < 3 or not {*node.input[1:3]} <= constants.keys():
        return None
    scale, zero = node.input[1:3]
    return Quantised(name, constants[scale], constants[zero], _attributes(node).get("axis", 1), (scale, zero))


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def _convolution(left: Tensor, right: Tensor, bias: Tensor | None, given: Mapping[str, Any]) -> Tensor:
    dims = left.dim() - 2
    begins, ends = np.split(np.array(given.get("pads", [0] * 2 * dims)), 2)
    # PyTorch pads from the last axis on; a zero here is the stored zero point.
    amounts = [int(a) for pair in zip(begins[::-1], ends[::-1], strict=True) for a in pair]
    return _CONVOLUTIONS[dims](
        F.pad(left, amounts),
        right,
        bias,
        stride=given.get("strides", [1] * dims),
        dilation=given.get("dilations", [1] * dims),
        groups=given.get("group", 1),
    )


def _gemm(left: Tensor, right: Tensor, bias: Tensor | None, given: Mapping[str, Any]) -> Tensor:
    left = left.T if given.get("transA") else left
    right = right.T if given.get("transB") else right
    product = given.get("alpha", 1.0) * (left @ right)
    return product if bias is None else product + given.get("beta", 1.0) * bias


def _matmul(left: Tensor, right: Tensor, bias: Tensor | None, given: Mapping[str, Any]) -> Tensor:
    return left @ right


_CONVOLUTIONS: Mapping[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
OPERATORS: Mapping[str, Callable[[Tensor, Tensor, Tensor | None, Mapping[str, Any]], Tensor]] = {
    "Conv": _convolution,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
"""Operators with integer kernels; ONNX Runtime computes a quantised ConvTranspose in fp32."""
