"""A file whose axes vary, held to one size: what is timed, and what runtimes take that know no other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from ..task.task import Inputs
from .named_tensors import named_inputs
from .onnx_export import feed_of_file, input_names
from .onnx_graph import drop_unread, has_bodies, rename, sort_nodes
from .zero_folding import fold_zeros

_RANDOM = frozenset(("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial"))
_QUANTISING = frozenset(("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"))
"""They mark for a runtime which products are of integers; computed here, that would be lost."""
_LARGEST = 1 << 24
"""Elements of a value that is still computed here; the runtime folds larger ones as it loads the file."""


def pinned(onnx_file: bytes, example_input: Inputs, *, fold: bool = True, keep_names: bool = False) -> bytes:
    """Return the file for inputs shaped like ``example_input``, called as the fixed export calls them.

    What the file computes of its inputs' shapes alone becomes constants, so that a runtime fuses and times what it
    would of a fixed export. A file that is fixed and named so already comes back as it is.

    Args:
        onnx_file: the file.
        example_input: what it is to take, in the network's own form.
        fold: whether zeros that are added go.
        keep_names: whether inputs keep the names that they have.
    """
    model = onnx.load_from_string(onnx_file)
    given = feed_of_file([value.name for value in model.graph.input], example_input)
    shapes = [array.shape for array in given.values()]
    rightly_named = keep_names or _named(model, example_input)
    if is_fixed(model) and rightly_named:
        return onnx_file
    _set_shapes(model, shapes)
    sort_nodes(model.graph)  # the quantiser appends what it adds
    if not has_bodies(model.graph):
        while _fold_shapes(model):
            pass
        if fold:
            fold_zeros(model)
    if not rightly_named:
        order = list(named_inputs(None, example_input)) if isinstance(example_input, Mapping) else list(given)
        names = dict(zip(order, input_names(example_input), strict=True))
        rename(model, names, [value.name for value in model.graph.output])
    return onnx.shape_inference.infer_shapes(model).SerializeToString()


def is_fixed(model: onnx.ModelProto) -> bool:
    """Return whether all inputs of a file have one size."""
    return not any(dim.dim_param for v in model.graph.input for dim in v.type.tensor_type.shape.dim)


def _named(model: onnx.ModelProto, example_input: Inputs) -> bool:
    return {v.name for v in model.graph.input} <= set(input_names(example_input))


def _set_shapes(model: onnx.ModelProto, shapes: list[tuple[int, ...]]) -> None:
    """Write the shapes into the inputs, and forget what was said of all that follows from them."""
    for value, shape in zip(model.graph.input, shapes, strict=True):
        for dim, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
            dim.dim_value = size
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")


def _fold_shapes(model: onnx.ModelProto) -> int:
    """Compute what follows from known shapes, in place, and return how many nodes went.

    Weights that are quantised follow from constants too, but not from shapes: they stay as they are.
    """
    graph = model.graph
    known = _known_shapes(model)
    stored = {tensor.name: tensor for tensor in graph.initializer}
    constants = {**stored, **dict(_constant_nodes(graph))}
    derived: dict[str, np.ndarray] = {}
    kept = []
    for node in graph.node:
        found = _computed(node, known, derived, constants, model)
        if found is None or any(np.size(value) > _LARGEST for value in found):
            kept.append(node)
        else:
            derived |= dict(zip(node.output, found, strict=True))
    count = len(graph.node) - len(kept)
    outputs = {value.name for value in graph.output}
    del graph.node[:]
    graph.node.extend(kept)
    graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in derived.items() if name not in outputs)
    for name in outputs & derived.keys():
        graph.node.append(onnx.helper.make_node("Constant", [], [name], value=numpy_helper.from_array(derived[name])))
    if count:
        drop_unread(graph)
    return count if not outputs & derived.keys() else 0


def _computed(
    node: onnx.NodeProto,
    known: dict[str, tuple[int, ...]],
    derived: dict[str, np.ndarray],
    constants: dict[str, onnx.TensorProto],
    model: onnx.ModelProto,
) -> list[np.ndarray] | None:
    """Return what a node computes; ``None`` where it takes more than shapes to know that."""
    if node.op_type in _RANDOM | _QUANTISING or node.op_type == "Constant":
        return None
    if node.op_type == "Shape" and node.input[0] in known:
        return [_shape_of(node, known[node.input[0]])]
    if any(name in derived for name in node.input) and all(
        not name or name in derived or name in constants for name in node.input
    ):
        inner = {n: derived[n] if n in derived else numpy_helper.to_array(constants[n]) for n in node.input if n}
    else:
        return None
    return _run(node, inner, model)


def _shape_of(node: onnx.NodeProto, shape: tuple[int, ...]) -> np.ndarray:
    ends = {a.name: a.i for a in node.attribute}
    return np.array(shape[ends.get("start", 0) : ends.get("end")], dtype=np.int64)


def _run(node: onnx.NodeProto, inner: dict[str, np.ndarray], model: onnx.ModelProto) -> list[np.ndarray] | None:
    """Run a node alone; ``None`` where onnx's reference has no implementation of it: the runtime computes it then."""
    from onnx.reference import ReferenceEvaluator

    given = [
        onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for n, v in inner.items()
    ]
    results = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output]
    graph = onnx.helper.make_graph([node], "one", given, results)
    made = onnx.helper.make_model(graph, opset_imports=model.opset_import)
    try:
        evaluator = ReferenceEvaluator(made)
    except RuntimeError:  # of this operator it knows other versions only, of DequantizeLinear those from 19 on
        return None
    found = evaluator.run(None, inner)
    return [np.asarray(value) for value in found]  # pyright: ignore[reportGeneralTypeIssues] - its type is too wide


def _known_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    found = {}
    for value in (*graph.value_info, *graph.input, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            found[value.name] = tuple(d.dim_value for d in dims)
    return found | {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}


def _constant_nodes(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            yield node.output[0], node.attribute[0].t
