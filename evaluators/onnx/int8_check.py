"""Whether a processor computes an int8 file's products right: each is run here, and compared with exact integers.

No flag of the processor is believed. The file is run literally on inputs of the task, to know each product's operands;
each convolution and matrix product, with the nodes that quantise around it, is then run on them as in an ordinary
session, and its result held against the integers' exact sum. The products stand apart for that: were the file itself
made to show its integers, ONNX Runtime would fuse other nodes, and other kernels would run than those of its users.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx

from ...errors import EvaluationError, describe
from ..hardware.instruction_set import instruction_set
from ..hardware.onnxruntime_session import open_session
from .int8_products import OPERATORS, Product, constants_of, products

Feed = Mapping[str, np.ndarray]

ROUNDING = 0.51
"""Levels by which a right result may differ from the exact one: it is rounded, and scaled in fp32 before that."""


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
    skipped = sum(node.op_type in OPERATORS for node in model.graph.node) - len(found)
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
    worst = dict.fromkeys((product.name for product in found), 0.0)
    for stored in runs:
        for product in found:
            worst[product.name] = max(worst[product.name], product.off_by(stored))
    wrong = {name: levels for name, levels in worst.items() if levels > ROUNDING}
    return ProductCheck(len(worst), skipped, wrong, instruction_set().words)


def stored_integers(
    model: onnx.ModelProto,
    found: Sequence[Product],
    feeds: Iterable[Feed],
    *,
    threads: int = 1,
    exact_products: bool = False,
) -> Iterator[dict[str, np.ndarray]]:
    """Yield each product's operands, and its result on this processor, by name, with all constants, for each feed.

    Raises:
        EvaluationError: ONNX Runtime refuses the file, or there are no inputs.
    """
    constants = constants_of(model)
    operands = dict.fromkeys(tensor.name for product in found for tensor in (product.left, product.right))
    shown = [name for name in operands if name not in constants]
    literal = open_session(_showing(model, shown), threads=threads, literal=True)
    used = {i.name for i in literal.get_inputs()}
    session: Any = None
    for feed in feeds:
        values = literal.run(shown, {name: array for name, array in feed.items() if name in used})
        stored = {**constants, **dict(zip(shown, values, strict=True))}
        if session is None:
            file = apart(model, found, {name: stored[name].shape for name in shown})
            session = open_session(file, threads=threads, exact_products=exact_products)
        yield {**stored, **_results(session, found, stored)}
    if session is None:
        raise EvaluationError(describe("no inputs", expected="at least one", remedy="Give inputs of the task."))


def apart(model: onnx.ModelProto, found: Sequence[Product], shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    """Return a file in which each product stands for itself, between the nodes that quantise around it.

    Args:
        model: the file that they are of.
        found: the products.
        shapes: of the operands that are no constants, by name; they become inputs of 32 bits.
    """
    parts = [_alone(product, number, shapes) for number, product in enumerate(found)]
    nodes, inputs = [node for own, _ in parts for node in own], [given for _, own in parts for given in own]
    results = [f"{number}/result" for number in range(len(found))]
    outputs = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in results]
    read = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    graph = onnx.helper.make_graph(nodes, "products", inputs, outputs, kept)
    file = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return file.SerializeToString()


def _alone(
    product: Product, number: int, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[list[onnx.NodeProto], list[onnx.ValueInfoProto]]:
    """Return one product's nodes and inputs, under names that start with its number."""
    nodes, inputs = [], []
    node = onnx.NodeProto()
    node.CopyFrom(product.node)
    operands = (product.left, product.right, product.bias)
    for place, tensor in enumerate(operand for operand in operands if operand is not None):
        stored, read = tensor.name, f"{number}/{place}/read"
        if tensor.name in shapes:
            given, stored = _input_name(number, place), f"{number}/{place}/stored"
            inputs.append(onnx.helper.make_tensor_value_info(given, onnx.TensorProto.FLOAT, shapes[tensor.name]))
            nodes.append(tensor.node("QuantizeLinear", given, stored))
        nodes.append(tensor.node("DequantizeLinear", stored, read))
        node.input[place] = read
    product_name, stored, result = (f"{number}/{what}" for what in ("product", "stored", "result"))
    node.output[0] = product_name
    nodes += [node, product.output.node("QuantizeLinear", product_name, stored)]
    nodes.append(product.output.node("DequantizeLinear", stored, result))
    return nodes, inputs


def _results(session: Any, found: Sequence[Product], stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return each product's result as it is stored, from a session of :func:`apart`."""
    feed = {
        _input_name(number, place): tensor.real(stored[tensor.name]).numpy().astype(np.float32)
        for number, product in enumerate(found)
        for place, tensor in enumerate((product.left, product.right))
    }
    used = {i.name for i in session.get_inputs()}
    outputs = session.run([o.name for o in session.get_outputs()], {n: a for n, a in feed.items() if n in used})
    return {p.result: p.output.stored(real) for p, real in zip(found, outputs, strict=True)}


def _input_name(number: int, place: int) -> str:
    return f"{number}/{place}/given"


def _showing(model: onnx.ModelProto, names: Sequence[str]) -> bytes:
    """Return the file with the integers named as its outputs."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    del shown.graph.output[:]
    zeros = {n.output[0]: n.input[2] for n in model.graph.node if n.op_type == "QuantizeLinear"}
    constants = constants_of(model)
    for name in names:
        kind = onnx.helper.np_dtype_to_tensor_dtype(constants[zeros[name]].dtype)
        shown.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
    return shown.SerializeToString()
