"""The runtime's profile told in the network's own words: which module each profiled kernel belongs to."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

import onnx

from ..counting import element_bytes
from .base import LayerCost
from .kernels import Kernel
from .onnxruntime_session import ProfiledNode
from .operations import COMPUTE

_COMPUTE_OPERATORS = frozenset(
    ["Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "LSTM", "GRU", "RNN", "Attention"]
)
_ADDED_BY_RUNTIME = re.compile(r"(_nchwc|_token_\d+)+$")
"""What ONNX Runtime appends to a node's name, or to its output's, as it rewrites the graph."""


def match_nodes(
    nodes: Sequence[ProfiledNode], kernels: Sequence[Kernel], *, exported: bytes, precision: str
) -> tuple[LayerCost, ...]:
    """Return a cost per profiled node; MACs and bytes are those of the kernel of the same module, each used once.

    A node without such a kernel (a layout change, an activation the runtime did not fuse) has none of either, and its
    operator, in lower case, for a kind.
    """
    by_layer: dict[str, list[Kernel]] = defaultdict(list)
    for kernel in kernels:
        by_layer[kernel.layer].append(kernel)
    width = element_bytes(precision)
    origins = _Origins(exported)
    return tuple(_layer_cost(node, by_layer[origins.layer(node)], origins.layer(node), width) for node in nodes)


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

        A convolution that the runtime fused with an activation bears the activation's output for a name, so the way leads
        back along first inputs to an operator that computes.
        """
        name = _ADDED_BY_RUNTIME.sub("", profiled.name)
        node = self._by_name.get(name) or self._by_output.get(name)
        found = node
        while profiled.operator in _COMPUTE_OPERATORS and found is not None and found.op_type not in _COMPUTE_OPERATORS:
            found = self._by_output.get(found.input[0]) if found.input else None
        found = found or node
        return module_name(found.name) if found is not None else name


def _layer_cost(node: ProfiledNode, kernels: list[Kernel], layer: str, width: int) -> LayerCost:
    wants_compute = node.operator in _COMPUTE_OPERATORS
    for index, kernel in enumerate(kernels):
        if (kernel.kind in COMPUTE) == wants_compute and not node.operator.startswith("Reorder"):
            del kernels[index]
            return LayerCost(kernel.layer, kernel.kind, kernel.macs, kernel.bytes_moved(width), node.latency_ms)
    return LayerCost(layer or node.operator.lower(), node.operator.lower(), 0, 0, node.latency_ms)
