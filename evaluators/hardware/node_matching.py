"""The runtime's profile told in the network's own words: which module each profiled kernel belongs to."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from .base import LayerCost
from .cost import layer_cost
from .kernels import Kernel
from .operations import COMPUTE
from .runtimes.base import ProfiledNode

_COMPUTE_OPERATORS = frozenset(
    (
        *("Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"),
        *("LSTM", "GRU", "RNN", "Attention"),
        *("QLinearConv", "QGemm", "QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat", "QLinearConvTranspose"),
    )
)
_ADDED_BY_RUNTIME = re.compile(r"^fused |(_nchwc|_token_\d+|_new_reshape|/MatMulAddFusion|/MatMulScaleFusion/?)+$")
"""What ONNX Runtime adds to a node's name, or to its output's, as it rewrites the graph."""


@dataclass(frozen=True)
class MatchedNode:
    """A profiled node with what it was in the network."""

    node: ProfiledNode
    layer: str
    kernel: Kernel | None
    """``None`` for what the runtime added: a layout change, or an activation that it did not fuse."""


def match_nodes(
    nodes: Sequence[ProfiledNode], kernels: Sequence[Kernel], *, exported: bytes
) -> tuple[MatchedNode, ...]:
    """Return each profiled node with the kernel of the same module, each kernel used once."""
    by_layer: dict[str, list[Kernel]] = defaultdict(list)
    for kernel in kernels:
        by_layer[kernel.layer].append(kernel)
    origins = _Origins(exported)
    matched = []
    for node in nodes:
        layer = origins.layer(node)
        kernel = _take(node, by_layer[layer])
        matched.append(MatchedNode(node, layer or node.operator.lower(), kernel))
    return tuple(matched)


def layer_costs(matched: Sequence[MatchedNode], *, precision: str) -> tuple[LayerCost, ...]:
    """Return a cost per node; one without a kernel has no MACs, and its operator, in lower case, for a kind."""
    return tuple(
        LayerCost(m.layer, m.node.operator.lower(), 0, 0, m.node.latency_ms)
        if m.kernel is None
        else layer_cost(m.kernel, precision=precision, latency_ms=m.node.latency_ms)
        for m in matched
    )


def module_name(node: str) -> str:
    """Return the qualified module name in an exported node's name: ``/b1/b1.0/conv/Conv`` is ``b1.0.conv``."""
    name = ""
    for part in node.split("/")[1:-1]:
        last = name.rsplit("/", 1)[-1]
        repeats = bool(last) and part.startswith(f"{last}.")
        name = name[: len(name) - len(last)] + part if repeats else f"{name}/{part}"
    return name.strip("/").replace("/", ".")


class _Origins:
    """The exported graph's nodes, by name and by what they write."""

    def __init__(self, exported: bytes) -> None:
        graph = onnx.load_from_string(exported).graph
        self._by_name = {node.name: node for node in graph.node}
        self._by_output = {output: node for node in graph.node for output in node.output}

    def layer(self, profiled: ProfiledNode) -> str:
        """Return the module that a profiled node comes from.

        A convolution that the runtime fused with an activation bears the activation's output for a name, so the way
        leads back along first inputs to an operator that computes.
        """
        name = _ADDED_BY_RUNTIME.sub("", profiled.name)
        node = self._by_name.get(name) or self._by_output.get(name) or self._by_name.get(profiled.name)
        found = node
        while profiled.operator in _COMPUTE_OPERATORS and found is not None and found.op_type not in _COMPUTE_OPERATORS:
            found = self._by_output.get(found.input[0]) if found.input else None
        found = found or node
        # An int8 file was optimised once before, when it was quantised.
        return module_name(_ADDED_BY_RUNTIME.sub("", found.name)) if found is not None else name


def _take(node: ProfiledNode, kernels: list[Kernel]) -> Kernel | None:
    wants_compute = node.operator in _COMPUTE_OPERATORS
    for index, kernel in enumerate(kernels):
        if (kernel.kind in COMPUTE) == wants_compute and not node.operator.startswith("Reorder"):
            return kernels.pop(index)
    return None
