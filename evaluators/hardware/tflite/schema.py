"""What a TensorFlow Lite file holds, and how it is laid out: a FlatBuffer with the field numbers of version 3's schema.

https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs has the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

IDENTIFIER = b"TFL3"
VERSION = 3
TYPES = {"float32": 0, "int32": 2, "int8": 9}
"""Element types, by NumPy's names."""
ACTIVATIONS = {"": 0, "relu": 1, "relu6": 3}
SAME, VALID = 0, 1


@dataclass(frozen=True)
class Options:
    """The table of an operator's options: its number in the union, and each field's slot and type."""

    number: int
    fields: Mapping[str, tuple[int, str]]


_WINDOW = {"padding": (0, "Int8"), "stride_w": (1, "Int32"), "stride_h": (2, "Int32")}
_CONV = Options(
    1, _WINDOW | {"activation": (3, "Int8"), "dilation_w_factor": (4, "Int32"), "dilation_h_factor": (5, "Int32")}
)
_DEPTHWISE = Options(
    2,
    _WINDOW
    | {"depth_multiplier": (3, "Int32"), "activation": (4, "Int8")}
    | {"dilation_w_factor": (5, "Int32"), "dilation_h_factor": (6, "Int32")},
)
_POOL = Options(5, _WINDOW | {"filter_width": (3, "Int32"), "filter_height": (4, "Int32"), "activation": (5, "Int8")})
_NONE = Options(0, {})


@dataclass(frozen=True)
class Code:
    """A builtin operator: its number, its version that has both fp32 and int8, its options."""

    number: int
    version: int
    options: Options = _NONE


CODES = {
    "ADD": Code(0, 2, Options(11, {"activation": (0, "Int8")})),
    "AVERAGE_POOL_2D": Code(1, 2, _POOL),
    "CONCATENATION": Code(2, 2, Options(10, {"axis": (0, "Int32"), "activation": (1, "Int8")})),
    "CONV_2D": Code(3, 3, _CONV),
    "DEPTHWISE_CONV_2D": Code(4, 3, _DEPTHWISE),
    "FULLY_CONNECTED": Code(9, 5, Options(8, {"activation": (0, "Int8"), "keep_num_dims": (2, "Bool")})),
    "LOGISTIC": Code(14, 2),
    "MAX_POOL_2D": Code(17, 2, _POOL),
    "MUL": Code(18, 2, Options(21, {"activation": (0, "Int8")})),
    "RELU": Code(19, 2),
    "RELU6": Code(21, 2),
    "RESHAPE": Code(22, 1, Options(17, {})),
    "SOFTMAX": Code(25, 2, Options(9, {"beta": (0, "Float32")})),
    "TANH": Code(28, 2),
    "PAD": Code(34, 2, Options(22, {})),
    "TRANSPOSE": Code(39, 2, Options(26, {})),
    "MEAN": Code(40, 2, Options(27, {"keep_dims": (0, "Bool")})),
    "SUB": Code(41, 2, Options(28, {"activation": (0, "Int8")})),
    "PADV2": Code(60, 2, Options(43, {})),
    "QUANTIZE": Code(114, 2, Options(89, {})),
}
"""The operators that are written, by their names in the schema."""


@dataclass(frozen=True)
class Quantisation:
    """``real = scale * (stored - zero_point)``, for the whole tensor or per index of ``axis``."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int = 0


@dataclass(frozen=True)
class Tensor:
    """A value of the graph; ``data`` for a constant."""

    name: str
    shape: tuple[int, ...]
    type: str
    """One of :data:`TYPES`."""
    quantisation: Quantisation | None = None
    data: np.ndarray | None = None


@dataclass(frozen=True)
class Operator:
    """One operator; inputs and outputs are numbers of tensors, -1 for an optional input left out."""

    code: str
    """One of :data:`CODES`."""
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class TfliteGraph:
    """A network, built one operator after the other."""

    tensors: list[Tensor] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()

    def add(self, tensor: Tensor) -> int:
        """Add a tensor and return its number."""
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, name: str, data: np.ndarray, quantisation: Quantisation | None = None) -> int:
        """Add a constant and return its number."""
        return self.add(Tensor(name, tuple(data.shape), str(data.dtype), quantisation, np.ascontiguousarray(data)))


def serialise(graph: TfliteGraph) -> bytes:
    """Return the file."""
    import flatbuffers

    builder: Any = flatbuffers.Builder(1 << 16)
    codes = sorted({operator.code for operator in graph.operators})
    operators = [_operator(builder, o, codes.index(o.code)) for o in graph.operators]
    tensors = [_tensor(builder, t, number) for number, t in enumerate(graph.tensors)]
    parts = (
        _references(builder, tensors),
        _integers(builder, graph.inputs),
        _integers(builder, graph.outputs),
        _references(builder, operators),
        builder.CreateString("main"),
    )
    subgraph = _table(builder, {slot: ("UOffsetTRelative", part) for slot, part in enumerate(parts)}, slots=5)
    # Buffer 0 is empty by agreement; each tensor has the one after its own number.
    buffers = [_table(builder, {}, slots=1), *(_buffer(builder, t.data) for t in graph.tensors)]
    model = {
        0: ("Uint32", VERSION),
        1: ("UOffsetTRelative", _references(builder, [_code(builder, CODES[c]) for c in codes])),
        2: ("UOffsetTRelative", _references(builder, [subgraph])),
        3: ("UOffsetTRelative", builder.CreateString("espalier")),
        4: ("UOffsetTRelative", _references(builder, buffers)),
    }
    builder.Finish(_table(builder, model, slots=5), IDENTIFIER)
    return bytes(builder.Output())


def _table(builder: Any, fields: Mapping[int, tuple[str, Any]], *, slots: int) -> int:
    builder.StartObject(slots)
    for slot, (kind, value) in fields.items():
        # Zeros are left out. They are the schema's defaults but for dilations, which are 1 or more.
        getattr(builder, f"Prepend{kind}Slot")(slot, value, 0)
    return builder.EndObject()


def _references(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _integers(builder: Any, values: Sequence[int]) -> int:
    return builder.CreateNumpyVector(np.array(values, dtype=np.int32))


def _buffer(builder: Any, data: np.ndarray | None) -> int:
    if data is None:
        return _table(builder, {}, slots=1)
    content = data.tobytes()
    builder.StartVector(1, len(content), 16)  # kernels read it in place, by 16 bytes at a time
    builder.head -= len(content)
    builder.Bytes[builder.head : builder.head + len(content)] = content
    return _table(builder, {0: ("UOffsetTRelative", builder.EndVector())}, slots=1)


def _code(builder: Any, code: Code) -> int:
    # Numbers above 127 do not fit the older field, which then holds 127.
    return _table(
        builder,
        {0: ("Int8", min(code.number, 127)), 2: ("Int32", code.version), 3: ("Int32", code.number)},
        slots=4,
    )


def _tensor(builder: Any, tensor: Tensor, number: int) -> int:
    fields = {
        0: ("UOffsetTRelative", _integers(builder, tensor.shape)),
        1: ("Int8", TYPES[tensor.type]),
        2: ("Uint32", number + 1),
        3: ("UOffsetTRelative", builder.CreateString(tensor.name)),
    }
    if tensor.quantisation is not None:
        fields[4] = ("UOffsetTRelative", _quantisation(builder, tensor.quantisation))
    return _table(builder, fields, slots=8)


def _quantisation(builder: Any, quantisation: Quantisation) -> int:
    fields = {
        2: ("UOffsetTRelative", builder.CreateNumpyVector(np.array(quantisation.scale, dtype=np.float32))),
        3: ("UOffsetTRelative", builder.CreateNumpyVector(np.array(quantisation.zero_point, dtype=np.int64))),
        6: ("Int32", quantisation.axis),
    }
    return _table(builder, fields, slots=7)


def _operator(builder: Any, operator: Operator, code: int) -> int:
    options = CODES[operator.code].options
    fields = {
        0: ("Uint32", code),
        1: ("UOffsetTRelative", _integers(builder, operator.inputs)),
        2: ("UOffsetTRelative", _integers(builder, operator.outputs)),
    }
    if options.number:
        given = {options.fields[n][0]: (options.fields[n][1], value) for n, value in operator.options.items()}
        slots = 1 + max((slot for slot, _ in options.fields.values()), default=-1)
        fields[3] = ("Uint8", options.number)
        fields[4] = ("UOffsetTRelative", _table(builder, given, slots=max(slots, 1)))
    return _table(builder, fields, slots=5)
