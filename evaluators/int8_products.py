"""Whether a processor computes an int8 file's products right: each is run here, and compared with exact integers.

No flag of the processor is believed. The very file is run on inputs of the task with its quantised values as further
outputs; what each convolution and matrix product made of its own inputs is then held against the integers' exact sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import Tensor

from ..errors import EvaluationError, describe
from .hardware.instruction_set import instruction_set
from .hardware.onnxruntime_session import open_session
from .onnx_graph import readers_of
from .quantisation_scheme import LARGEST_SAFE_WEIGHT

Feed = Mapping[str, np.ndarray]

ROUNDING = 0.51
"""Levels by which a right result may differ from the exact one: it is rounded, and scaled in fp32 before that."""


@dataclass(frozen=True)
class Quantised:
    """A tensor of small integers, and what they stand for: ``(integer - zero) * scale``."""

    name: str
    scale: np.ndarray
    zero: np.ndarray
    axis: int
    """Along which scales and zeros differ, where there is more than one."""

    def real(self, integers: np.ndarray) -> Tensor:
        """Return what ``integers`` stand for, in double precision, where sums of products stay exact integers."""
        shape = [1] * integers.ndim
        if self.scale.size > 1:
            shape[self.axis] = -1
        zero, scale = (a.astype(np.float64).reshape(shape) for a in (self.zero, self.scale))
        return torch.from_numpy((integers.astype(np.float64) - zero) * scale)


@dataclass(frozen=True)
class Product:
    """A convolution or matrix product of two quantised tensors."""

    node: onnx.NodeProto
    left: Quantised
    right: Quantised
    bias: Quantised | None
    output: Quantised
    """As it is stored: rounded, and cut at the ends of its range."""

    def exact(self, stored: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the output in levels of its scale, neither rounded nor cut, from the integers ``stored`` by name."""
        left, right = self.left.real(stored[self.left.name]), self.right.real(stored[self.right.name])
        bias = None if self.bias is None else self.bias.real(stored[self.bias.name])
        found = _OPERATORS[self.node.op_type](left, right, bias, _attributes(self.node))
        return found.numpy() / self.output.scale.astype(np.float64) + self.output.zero

    def off_by(self, stored: Mapping[str, np.ndarray]) -> float:
        """Return the largest difference of the stored output to the exact one, in levels."""
        found = stored[self.output.name]
        ends = np.iinfo(found.dtype)
        return float(np.abs(found - np.clip(self.exact(stored), ends.min, ends.max)).max())


@dataclass(frozen=True)
class ProductCheck:
    """What came of running a file's products on this processor."""

    compared: int
    """Products held against exact integers."""
    skipped: int
    """Products that could not be, as their operands or results are not all stored as integers."""
    wrong: Mapping[str, float]
    """By the name of the node: how many levels of 255 a result was off, where rounding does not explain it."""
    processor: str
    """Its instruction set."""

    @property
    def passed(self) -> bool:
        """Whether all that were compared came out right."""
        return not self.wrong

    @property
    def sentence(self) -> str:
        """What a reader needs to know, in one sentence."""
        if not self.compared:
            return f"no int8 product of {self.skipped} could be compared"
        others = f", {self.skipped} could not be compared" if self.skipped else ""
        if self.passed:
            return f"all {self.compared} int8 products come out right on this processor ({self.processor}){others}"
        worst = max(self.wrong, key=lambda name: self.wrong[name])
        return (
            f"{len(self.wrong)} of {self.compared} int8 products come out wrong on this processor ({self.processor}), "
            f"as 16-bit sums of uint8 x int8 saturate: {worst} is off by up to {self.wrong[worst]:.0f} of 255 levels"
            f"{others}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {**asdict(self), "wrong": dict(self.wrong), "passed": self.passed}


def check_products(
    onnx_file: bytes, feeds: Iterable[Feed], *, threads: int = 1, exact_products: bool = False
) -> ProductCheck:
    """Run an int8 file's products on this processor, on the inputs given, and compare each with exact integers.

    Args:
        onnx_file: in the QDQ form.
        feeds: inputs by name; a few of the task's own will do.
        threads: of the runtime.
        exact_products: as :func:`~espalier.evaluators.hardware.onnxruntime_session.open_session` takes it.

    Raises:
        EvaluationError: ONNX Runtime refuses the file, or no inputs were given.
    """
    model = onnx.load_from_string(onnx_file)
    found = products(model)
    skipped = sum(node.op_type in _OPERATORS for node in model.graph.node) - len(found)
    if not found:
        return compare((), (), skipped=skipped)
    runs = stored_integers(model, found, feeds, threads=threads, exact_products=exact_products)
    return compare(found, runs, skipped=skipped)


def compare(found: Sequence[Product], runs: Iterable[Mapping[str, np.ndarray]], *, skipped: int = 0) -> ProductCheck:
    """Hold what each run stored, by name, against the exact integers.

    Args:
        found: the products.
        runs: every operand and result of them, for each input.
        skipped: products that are not among them.
    """
    worst = dict.fromkeys((product.node.name for product in found), 0.0)
    for stored in runs:
        for product in found:
            worst[product.node.name] = max(worst[product.node.name], product.off_by(stored))
    wrong = {name: levels for name, levels in worst.items() if levels > ROUNDING}
    return ProductCheck(len(worst), skipped, wrong, instruction_set().words)


def products(model: onnx.ModelProto) -> tuple[Product, ...]:
    """Return the convolutions and matrix products whose operands and result are stored as integers."""
    graph, constants, readers = model.graph, _constants(model), readers_of(model.graph)
    sources = {name: node for node in graph.node for name in node.output}
    found: list[Product] = []
    for node in graph.node:
        if node.op_type not in _OPERATORS or _attributes(node).get("auto_pad", b"NOTSET") != b"NOTSET":
            continue
        operands = [_read(sources.get(name), constants) for name in node.input if name]
        left, right, bias = (*operands, None)[:3]
        output = _written(readers[node.output[0]], constants)
        if left is not None and right is not None and output is not None and None not in operands:
            found.append(Product(node, left, right, bias, output))
    return tuple(found)


def can_saturate(onnx_file: bytes) -> bool:
    """Return whether a processor that sums pairs of uint8 x int8 products in 16 bits may compute something else.

    Told from the stored integers alone, whatever the inputs: with none further from zero than 64 it cannot.
    """
    tensors = onnx.load_from_string(onnx_file).graph.initializer
    stored = (numpy_helper.to_array(t) for t in tensors if t.data_type == onnx.TensorProto.INT8 and t.dims)
    return any(np.abs(array.astype(np.int16)).max(initial=0) > LARGEST_SAFE_WEIGHT for array in stored)


def stored_integers(
    model: onnx.ModelProto,
    found: Sequence[Product],
    feeds: Iterable[Feed],
    *,
    threads: int = 1,
    exact_products: bool = False,
) -> Iterator[dict[str, np.ndarray]]:
    """Yield what this processor stores of each operand and result, by name, and all constants, for each of ``feeds``.

    Raises:
        EvaluationError: ONNX Runtime refuses the file, or there are no inputs.
    """
    constants = _constants(model)
    names = dict.fromkeys(tensor.name for p in found for tensor in (p.left, p.right, p.output))
    shown = [name for name in names if name not in constants]
    session = open_session(_showing(model, shown), threads=threads, exact_products=exact_products)
    used = {i.name for i in session.get_inputs()}
    ran = False
    for feed in feeds:
        values = session.run(shown, {name: array for name, array in feed.items() if name in used})
        yield {**constants, **dict(zip(shown, values, strict=True))}
        ran = True
    if not ran:
        raise EvaluationError(describe("no inputs", expected="at least one", remedy="Give inputs of the task."))


def _showing(model: onnx.ModelProto, names: Sequence[str]) -> bytes:
    """Return the file with the values named as further outputs."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    types = {n.output[0]: n for n in model.graph.node if n.op_type == "QuantizeLinear"}
    constants = _constants(model)
    for name in names:
        zero = constants[types[name].input[2]]
        kind = onnx.helper.np_dtype_to_tensor_dtype(zero.dtype)
        shown.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
    return shown.SerializeToString()


def _constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
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
    return Quantised(name, constants[node.input[1]], constants[node.input[2]], _attributes(node).get("axis", 1))


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
_OPERATORS: Mapping[str, Callable[[Tensor, Tensor, Tensor | None, Mapping[str, Any]], Tensor]] = {
    "Conv": _convolution,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
"""Operators with integer kernels; ONNX Runtime computes a quantised ConvTranspose in fp32."""
