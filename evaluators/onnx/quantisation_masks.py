"""What of a network stays in 32 bits when it is quantised: values that mask others out.

A mask adds or fills in ``-inf``, ``-1e9`` or the lowest float, so that a softmax or a maximum passes over some values.
256 levels from there to the values that count leave none between those, and none at all lead to ``-inf``. Such sums,
choices and softmaxes have no weights, so they stay in 32 bits, and the products around them are integers as ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from ...errors import EvaluationError, describe

PRODUCTS = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))
WIDEST_SOFTMAX_INPUT = 64.0
"""Over a wider range one of 255 steps is more than 1/4, and changes a probability by more than a quarter."""
SMALLEST_MASK = 1e4
"""What half precision is masked with; a value this large drowns another one by its size alone."""
_LEVELS = 255

_ELEMENTWISE = frozenset(("Add", "Sub", "Where", "Min", "Max", "Sum"))
"""Operators by which a mask meets what it masks."""
_MOVES = frozenset(
    ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Expand", "Slice", "Split", "Gather", "Identity")
)
_BEFORE_SOFTMAX = _ELEMENTWISE | _MOVES | frozenset(("Mul", "Div", "Neg", "Cast", "Clip", "Concat", "Tile"))

Range = tuple[float, float]


def left_in_float(model: onnx.ModelProto, ranges: Mapping[str, Range]) -> list[str]:
    """Return the names of the nodes that 8 bits would take their meaning from.

    Args:
        model: the fp32 network, each of its nodes named.
        ranges: the least and the largest value of each activation that could be quantised, by its name.

    Raises:
        EvaluationError: a product of the network reads or gives what is not finite, so no mask is the cause.
    """
    graph = model.graph
    found = {**ranges, **_stored(graph)}
    endless = unbounded(found)
    _refuse_products(graph, endless)
    masked = endless | set(_before_softmax(graph, found)) | set(_drowned(graph, found))
    return [n.name for n in graph.node if n.op_type not in PRODUCTS and masked & {*n.input, *n.output}]


def unbounded(ranges: Mapping[str, Range]) -> set[str]:
    """Return the names of the values that are not finite."""
    return {name for name, ends in ranges.items() if not np.isfinite(ends).all()}


def name_nodes(graph: onnx.GraphProto) -> None:
    """Give each node without a name one of its own, in place: quantisers know nodes by name only."""
    taken = {node.name for node in graph.node}
    for number, node in enumerate(graph.node):
        if not node.name:
            node.name = next(n for n in _names(f"{node.op_type}_{number}") if n not in taken)
            taken.add(node.name)


def _names(first: str) -> Iterator[str]:
    yield first
    number = 1
    while True:
        yield f"{first}_{number}"
        number += 1


def _stored(graph: onnx.GraphProto) -> dict[str, Range]:
    floats = (t for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT)
    arrays = {t.name: numpy_helper.to_array(t) for t in floats}
    # A minimum of NaN and numbers is NaN, as it should be here.
    return {name: (float(a.min()), float(a.max())) for name, a in arrays.items() if a.size}


def _refuse_products(graph: onnx.GraphProto, endless: set[str]) -> None:
    for node in graph.node:
        wrong = [name for name in (*node.input, *node.output) if name in endless]
        if node.op_type in PRODUCTS and wrong:
            raise EvaluationError(
                describe(
                    f"activation {wrong[0]} is not finite on training data",
                    expected="finite activations to calibrate on",
                    remedy="Train with a lower learning rate; a mask of -inf must leave something in each row.",
                )
            )


def _before_softmax(graph: onnx.GraphProto, ranges: Mapping[str, Range]) -> Iterator[str]:
    """Yield the values on the way from products to a softmax whose range is wider than 8 bits can tell apart."""
    producers = {name: node for node in graph.node for name in node.output}
    wanted = [node.input[0] for node in graph.node if node.op_type in ("Softmax", "LogSoftmax")]
    seen: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        low, high = ranges.get(name, (0.0, 0.0))
        if not high - low <= WIDEST_SOFTMAX_INPUT:  # the lowest float less the largest one is infinite
            yield name
        source = producers.get(name)
        if source is not None and source.op_type in _BEFORE_SOFTMAX:
            wanted += source.input


def _drowned(graph: onnx.GraphProto, ranges: Mapping[str, Range]) -> Iterator[str]:
    """Yield sums and choices, wherever they lead, of which 8 bits leave one operand nothing, and what moves them."""
    size = {name: max(abs(low), abs(high)) for name, (low, high) in ranges.items()}
    masked: set[str] = set()
    for node in graph.node:
        sizes = [size[name] for name in node.input if name in size]
        meets = node.op_type in _ELEMENTWISE and len(sizes) > 1
        drowns = meets and max(sizes) >= max(SMALLEST_MASK, _LEVELS * min(sizes))
        if (drowns or (node.op_type in _MOVES and masked & set(node.input))) and _is_large(node, size):
            masked |= set(node.output)
    yield from masked


def _is_large(node: onnx.NodeProto, size: Mapping[str, float]) -> bool:
    """Return whether the mask is still in what a node gives: a maximum has passed over it."""
    return any(size.get(name, 0.0) >= SMALLEST_MASK for name in node.output)
