"""What an ONNX file may hold before a runtime is given it: a graph and its own tensors, and no other file's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import onnx

from ..errors import describe
from .pt2_archive import UnsafeFileError

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"})
"""Where operators come from that ONNX Runtime has by itself."""


def check_onnx(path: Path) -> None:
    """Check that an ONNX file reads no other file, needs no library, and holds no more bytes than its shapes say.

    Raises:
        UnsafeFileError: it does; or it is torn.
    """
    try:
        model = onnx.load_from_string(path.read_bytes())
        faults = [*_faults(model)]
    except (OSError, ValueError, TypeError, RuntimeError, RecursionError) as error:
        raise _refused(path, f"is torn or no ONNX file ({error})") from error
    except Exception as error:  # protobuf's DecodeError shares no base with others but Exception
        raise _refused(path, f"is torn or no ONNX file ({error})") from error
    if faults:
        raise _refused(path, faults[0])


def _faults(model: onnx.ModelProto) -> Iterator[str]:
    own = {function.domain for function in model.functions}
    graphs = [model.graph, *(info.algorithm for info in model.training_info)]
    graphs += [info.initialization for info in model.training_info]
    nodes = [node for function in model.functions for node in function.node]
    while graphs or nodes:
        while graphs:
            graph = graphs.pop()
            nodes += graph.node
            yield from _tensor_faults(graph.initializer)
            for sparse in graph.sparse_initializer:
                yield from _tensor_faults((sparse.values, sparse.indices))
        node = nodes.pop() if nodes else None
        for attribute in () if node is None else node.attribute:
            graphs += [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
            yield from _tensor_faults((*attribute.tensors, *([attribute.t] if attribute.HasField("t") else [])))
        if node is not None and node.domain not in DOMAINS | own:
            yield f"needs operators of {node.domain!r} ({node.op_type}), which only a library brings"
        if node is not None and node.op_type == "EPContext":
            yield "holds a compiled program (EPContext)"


def _tensor_faults(tensors: object) -> Iterator[str]:
    for tensor in tensors:  # pyright: ignore[reportGeneralTypeIssues] - protobuf's containers
        if tensor.data_location == onnx.TensorProto.EXTERNAL or len(tensor.external_data):
            place = next((entry.value for entry in tensor.external_data if entry.key == "location"), "another file")
            yield f"reads {tensor.name!r} from {place}"
            continue
        if not tensor.HasField("raw_data"):
            continue
        bits = _bits(tensor.data_type)
        room = math.ceil(math.prod(tensor.dims) * bits / 8) if bits else len(tensor.raw_data)
        if len(tensor.raw_data) > room:
            yield f"holds {len(tensor.raw_data)} bytes in {tensor.name!r} for a tensor of {room}"


def _bits(data_type: int) -> int | None:
    """Return the bits of one element; ``None`` where a tensor has no raw form of a known size."""
    name = onnx.TensorProto.DataType.Name(data_type)
    if name.endswith(("INT4", "FLOAT4E2M1")):
        return 4
    if name.endswith("INT2") or name == "STRING":
        return 2 if name != "STRING" else None
    return 8 * onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize


def _refused(path: Path, fault: str) -> UnsafeFileError:
    remedy = "Nothing of it was loaded. Export it again with this Espalier."
    return UnsafeFileError(describe(f"{path.name} {fault}", expected="a graph with its own tensors", remedy=remedy))
