"""Computes what a ``torch.export`` program computes, node by node, without loading it as code.

``torch.export.load`` makes Python source of a graph and calls whatever function of ``torch`` the file names, be it
``torch.os.system``. Here a file can name PyTorch's tensor operators and arithmetic on sizes, and nothing else.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.utils._pytree import tree_flatten

from ..errors import EvaluationError, InputError, describe
from .pt2_archive import Pt2Archive, UnsafeFileError, torch_dtype

_OPERATOR = re.compile(r"torch\.ops\.(aten|torchvision)\.(\w+)\.(\w+)")
_ARITHMETIC: Mapping[str, Callable[..., Any]] = {
    f"_operator.{name}": getattr(operator, name)
    for name in (
        *("add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "abs", "getitem"),
        *("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "not_"),
    )
} | {
    **{f"math.{name}": getattr(math, name) for name in ("trunc", "ceil", "floor", "sqrt")},
    **{f"torch.sym_{name}": getattr(torch, f"sym_{name}") for name in ("max", "min", "int", "float", "not", "ite")},
}
_WORDS = frozenset({"approximate", "rounding_mode", "mode", "reduce", "equation", "padding", "indexing", "norm", "ord"})
"""Arguments that are words. No other text reaches an operator: some take the name of a file."""
_SKIPPED = ("_assert", "sym_constrain_range")
_UNSAFE = re.compile(r"_unsafe|set_|resize_|from_file|save|load|_local_scalar|record_stream|sparse|_cudnn|_foreach")
_GRADIENT = "torch.ops.higher_order.wrap_with_set_grad_enabled"
_AUTOCAST = "torch.ops.higher_order.wrap_with_autocast"
_CONDITION = "torch.ops.higher_order.cond"
_WHILE = "torch.ops.higher_order.while_loop"
_MAP = "torch.ops.higher_order.map_impl"
_SCAN = "torch.ops.higher_order.scan"
_WITH_GRAPHS = frozenset((_GRADIENT, _AUTOCAST, _CONDITION, _WHILE, _MAP, _SCAN))
MOST_REPEATED_NODES = 200_000
"""How many nodes loops compute in one run at most: a file that was received may hold a loop that never ends."""

_MALFORMED = (LookupError, TypeError, AttributeError, ValueError, RecursionError)


class NotComputedError(InputError):
    """A program with an operator that is not computed here; it may be right."""


class _Allowance:
    """What loops may still compute."""

    def __init__(self, nodes: int) -> None:
        self._most = self._left = nodes

    def take(self, graph: Mapping[str, Any]) -> None:
        """Take off one round of a loop over ``graph``, be it empty.

        Raises:
            NotComputedError: there is no more.
        """
        self._left -= len(graph["nodes"]) + 1
        if self._left < 0:
            raise _not_computed(f"loops that compute more than {self._most:,} nodes")


class Pt2Program:
    """A program that is computed by PyTorch's operators, given by name.

    Args:
        archive: what holds it.
        loop_nodes: how many nodes its loops may compute in one run.

    Raises:
        NotComputedError: a node is no tensor operator that is known to do no more than compute.
    """

    def __init__(self, archive: Pt2Archive, *, loop_nodes: int = MOST_REPEATED_NODES) -> None:
        self._loop_nodes = loop_nodes
        self._tensors = {**archive.weights, **archive.constants}
        try:
            module = archive.program["graph_module"]
            self._graph = module["graph"]
            self._inputs = module["signature"]["input_specs"]
            self._outputs = module["signature"]["output_specs"]
            _check(self._graph)
        except NotComputedError:
            raise
        except _MALFORMED as error:
            got = f"the program is malformed ({type(error).__name__}: {error})"
            raise UnsafeFileError(describe(got, expected="what torch.export writes", remedy="Export again.")) from error

    def __call__(self, inputs: Any) -> list[torch.Tensor]:
        """Return the tensors that the program returns for ``inputs``, a tensor, a tuple or a dict, in order.

        Raises:
            EvaluationError: it cannot be computed.
        """
        try:
            return self._outputs_for(inputs)
        except NotComputedError:
            raise
        except (*_MALFORMED, RuntimeError, NotImplementedError, MemoryError, StopIteration) as error:
            got = f"the program cannot be computed ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
            raise EvaluationError(describe(got, expected="a program that runs", remedy="Export again.")) from error

    def _outputs_for(self, inputs: Any) -> list[torch.Tensor]:
        given = iter(self._ordered(inputs))
        values = {}
        for spec in self._inputs:
            (kind, content), *_ = spec.items()
            name = _name_of(content.get("arg", content))
            values[name] = self._input(kind, content, given)
        with torch.no_grad():
            _run(self._graph, values, _Allowance(self._loop_nodes))
        wanted = [spec["user_output"]["arg"] for spec in self._outputs if "user_output" in spec]
        found = [_argument(arg, values) for arg in wanted]
        return [value for value in found if isinstance(value, torch.Tensor)]

    def _ordered(self, inputs: Any) -> Sequence[Any]:
        names = [_name_of(spec["user_input"]["arg"]) for spec in self._inputs if "user_input" in spec]
        if isinstance(inputs, Mapping) and inputs.keys() == set(names):
            return [inputs[name] for name in names]
        return tree_flatten(inputs)[0]

    def _input(self, kind: str, content: Mapping[str, Any], given: Any) -> Any:
        if kind == "user_input":
            value = next(given)
            return value.clone() if isinstance(value, torch.Tensor) else value
        if kind == "constant_input":
            return next(given, None)
        if kind not in ("parameter", "buffer", "tensor_constant"):
            raise _not_computed(f"an input of the kind {kind}")
        # A copy, as operators may work in place.
        return self._tensors[content[f"{kind}_name"]].clone()


def _check(graph: Mapping[str, Any]) -> None:
    for node in graph["nodes"]:
        if not _is_skipped(node["target"]) and node["target"] not in _WITH_GRAPHS:
            function_of(node["target"])
        for given in node["inputs"]:
            if "as_graph" in given["arg"]:
                _check(given["arg"]["as_graph"]["graph"])


def function_of(target: str) -> Callable[..., Any]:
    """Return the function that a node names.

    Raises:
        NotComputedError: it is not among those that only compute.
    """
    if target in _ARITHMETIC:
        return _ARITHMETIC[target]
    match = _OPERATOR.fullmatch(target)
    found = None if match is None or _UNSAFE.search(target) else _overload(*match.groups())
    if found is None:
        raise _not_computed(target)
    schema = found._schema
    returns = [str(r.type) for r in schema.returns]
    texts = [a.name for a in schema.arguments if "str" in str(a.type) and a.name not in _WORDS]
    if not returns or any(not _is_value(r) for r in returns) or texts:
        raise _not_computed(target)
    return found


def _overload(library: str, name: str, overload: str) -> Any:
    packet = getattr(getattr(torch.ops, library), name, None)
    found = getattr(packet, overload, None)
    return found if isinstance(found, torch._ops.OpOverload) else None


def _is_value(kind: str) -> bool:
    return any(word in kind for word in ("Tensor", "int", "float", "bool", "number", "Scalar"))


def _is_skipped(target: str) -> bool:
    match = _OPERATOR.fullmatch(target)
    return match is not None and match[2].startswith(_SKIPPED)


def _run(graph: Mapping[str, Any], values: dict[str, Any], allowance: _Allowance) -> None:
    for node in graph["nodes"]:
        if _is_skipped(node["target"]):
            continue
        _bind(node["outputs"], _computed(node, values, allowance), values)


def _computed(node: Mapping[str, Any], values: Mapping[str, Any], allowance: _Allowance) -> Any:
    target, given = node["target"], node["inputs"]
    if target in _WITH_GRAPHS:
        return _controlled(target, [each["arg"] for each in given], values, allowance)
    function = function_of(target)
    if not isinstance(function, torch._ops.OpOverload):
        return function(*(_argument(each["arg"], values) for each in given))
    positional = [_argument(each["arg"], values) for each in given if each.get("kind", 1) == 1]
    named = {each["name"]: _argument(each["arg"], values) for each in given if each.get("kind", 1) != 1}
    return function(*positional, **named)


def _controlled(
    target: str, given: Sequence[Mapping[str, Any]], values: Mapping[str, Any], allowance: _Allowance
) -> Any:
    """Return what an operator computes that is given graphs: ``torch.cond``, ``while_loop``, ``map`` and ``scan``."""
    if target in (_GRADIENT, _AUTOCAST):
        return _wrapped(target, given, values, allowance)
    if target == _CONDITION:
        predicate, yes, no, operands = given
        return _subgraph(yes if _argument(predicate, values) else no, _items(operands, values), allowance)
    # Behind the graphs stand lists of values, the last of what each round is given as it is.
    *operands, last, shared = (_items(each, values) for each in given if "as_graph" not in each)
    if target == _WHILE:
        return _repeated(given[0], given[1], last, shared, allowance)
    return _scanned(given[0], operands[0] if target == _SCAN else (), last, shared, allowance)


def _wrapped(target: str, given: Sequence[Mapping[str, Any]], values: Mapping[str, Any], allowance: _Allowance) -> Any:
    position = next(i for i, each in enumerate(given) if "as_graph" in each)
    words = [_argument(each, values) for each in given[:position]]
    context: AbstractContextManager[Any] = nullcontext()
    if target == _AUTOCAST:
        context = torch.autocast(words[0], dtype=words[1], enabled=words[2], cache_enabled=words[3])
    with context:
        return _subgraph(given[position], [_argument(each, values) for each in given[position + 1 :]], allowance)


def _repeated(
    check: Mapping[str, Any],
    body: Mapping[str, Any],
    carried: Sequence[Any],
    shared: Sequence[Any],
    allowance: _Allowance,
) -> Sequence[Any]:
    """Return what is carried once ``check`` no longer holds."""
    while bool(_subgraph(check, [*carried, *shared], allowance)[0]):
        allowance.take(check["as_graph"]["graph"])
        allowance.take(body["as_graph"]["graph"])
        carried = _subgraph(body, [*carried, *shared], allowance)
    return carried


def _scanned(
    body: Mapping[str, Any],
    carried: Sequence[Any],
    rows: Sequence[torch.Tensor],
    shared: Sequence[Any],
    allowance: _Allowance,
) -> Sequence[Any]:
    """Return what is carried over all rows, and what each row gives, stacked."""
    count, given = len(carried), []
    for row in zip(*rows, strict=True):
        allowance.take(body["as_graph"]["graph"])
        found = _subgraph(body, [*carried, *row, *shared], allowance)
        carried = found[:count]
        given.append(found[count:])
    return [*carried, *map(torch.stack, zip(*given, strict=True))]


def _subgraph(given: Mapping[str, Any], operands: Sequence[Any], allowance: _Allowance) -> Sequence[Any]:
    graph = given["as_graph"]["graph"]
    inner = {_name_of(name): value for name, value in zip(graph["inputs"], operands, strict=True)}
    _run(graph, inner, allowance)
    return tuple(_argument(each, inner) for each in graph["outputs"])


def _bind(outputs: Sequence[Mapping[str, Any]], result: Any, values: dict[str, Any]) -> None:
    if len(outputs) == 1 and "as_tensors" in outputs[0]:
        names = [each["name"] for each in outputs[0]["as_tensors"]]
        values.update(zip(names, result, strict=True))
        return
    if len(outputs) == 1 and isinstance(result, tuple | list) and len(result) == 1:
        result = result[0]
    results = result if len(outputs) > 1 else [result]
    for output, value in zip(outputs, results, strict=True):
        if "as_none" not in output:
            values[_name_of(output)] = value


def _items(given: Mapping[str, Any], values: Mapping[str, Any]) -> Sequence[Any]:
    found = _argument(given, values)
    return found if isinstance(found, tuple | list) else [found]


def _name_of(given: Mapping[str, Any]) -> str:
    """Return the name of a value: ``{"as_tensor": {"name": "x"}}``, ``{"as_sym_int": {"as_name": "s"}}``, ..."""
    if isinstance(given.get("name"), str):
        return given["name"]
    if isinstance(given.get("as_name"), str):
        return given["as_name"]
    (kind, content), *_ = given.items()
    if kind.startswith(("as_tensor", "as_sym", "as_optional")) and isinstance(content, Mapping):
        return _name_of(content)
    return str(given)  # a constant, which nothing refers to


def _argument(given: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    (kind, content), *_ = given.items()
    if kind in ("as_none",):
        return None
    if kind == "as_tensor":
        return values[content["name"]]
    if kind == "as_tensors":
        return [values[each["name"]] for each in content]
    if kind in ("as_optional_tensor", "as_sym_int", "as_sym_float", "as_sym_bool"):
        return _argument(content, values)
    if kind in ("as_optional_tensors", "as_sym_ints", "as_sym_floats", "as_sym_bools"):
        return [_argument(each, values) for each in content]
    if kind == "as_name":
        return values[content]
    return _constant(kind, content)


def _constant(kind: str, content: Any) -> Any:
    from torch._export.serde import serialize

    if kind in ("as_int", "as_ints", "as_bool", "as_bools", "as_string", "as_strings", "as_int_lists"):
        return content
    if kind == "as_float":
        return float(content)  # infinities and NaN are words
    if kind == "as_floats":
        return [float(each) for each in content]
    if kind == "as_scalar_type":
        return torch_dtype(content)
    if kind == "as_memory_format":
        return serialize._SERIALIZE_TO_TORCH_MEMORY_FORMAT[content]
    if kind == "as_layout":
        return serialize._SERIALIZE_TO_TORCH_LAYOUT[content]
    if kind == "as_device":
        return torch.device("cpu")
    if kind == "as_complex":
        return complex(content["real"], content["imag"])
    raise _not_computed(f"an argument of the kind {kind}")


def _not_computed(what: str) -> NotComputedError:
    remedy = "--trust runs the file as it is."
    return NotComputedError(describe(f"the program uses {what}", expected="operators that only compute", remedy=remedy))
