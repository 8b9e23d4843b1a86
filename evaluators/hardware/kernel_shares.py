"""A network's latency shared out among its fused kernels, by the runtime's profile.

The runtime runs nodes that no kernel of the network stands for: layout changes, transposes, quantisation, activations
that it did not fuse. A network of other widths has others of them, and nothing but an export would tell which. So their
time is charged to a neighbour: the kernel of the same module or, without one, the one that needs or makes the layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .kernels import KernelGraph
from .node_matching import MatchedNode, match_nodes
from .runtimes.base import ProfiledNode

LEAST_MS = 2e-4
"""What a node takes at least once the profiler's own time is subtracted."""
_MOST_OF_PROFILER_MS = 5e-3
"""What the profiler adds to a node at most; what a profile is longer by beyond that, the machine was slower by."""
_KINDS = {
    **dict.fromkeys(("ReduceMean", "GlobalAveragePool", "AveragePool", "MaxPool", "QLinearGlobalAveragePool"), "pool"),
    **dict.fromkeys(("QLinearAveragePool", "GlobalMaxPool", "ReduceMax"), "pool"),
    **dict.fromkeys(("LayerNormalization", "SkipLayerNormalization", "BatchNormalization"), "normalization"),
    **dict.fromkeys(("InstanceNormalization", "GroupNorm", "SimplifiedLayerNormalization"), "normalization"),
    **dict.fromkeys(("Relu", "Gelu", "QuickGelu", "BiasGelu", "Clip", "HardSwish", "Sigmoid", "Erf"), "activation"),
    **dict.fromkeys(("Softmax", "QLinearSoftmax"), "softmax"),
    **dict.fromkeys(("Add", "Mul", "Sub", "Div", "Sum", "QLinearAdd", "QLinearMul"), "elementwise"),
    **dict.fromkeys(("Concat", "QLinearConcat"), "concat"),
    **dict.fromkeys(("Gather",), "embedding"),
}
"""What kind of kernel an operator is that its name leads to no module."""
_FOR_THE_NEXT = ("ReorderInput", "Pad", "QuantizeLinear", "Reshape")


@dataclass(frozen=True)
class Share:
    """What one kernel takes, and the operators of the runtime that this is."""

    latency_ms: float
    operators: tuple[str, ...]


def kernel_shares(
    nodes: Sequence[ProfiledNode], graph: KernelGraph, *, exported: bytes, latency_ms: float
) -> tuple[Share, ...]:
    """Return the share of each kernel of ``graph``; they add up to ``latency_ms``, measured without the profiler.

    The profiler adds the same to each node, a few microseconds, so it is the difference of the sums, shared evenly,
    that is taken off each.

    Args:
        nodes: as profiled.
        graph: the network's kernels.
        exported: the file that was profiled.
        latency_ms: of the whole network.
    """
    matched = match_nodes(nodes, graph.kernels, exported=exported)
    owners = _owners(matched, graph)
    times = _without_profiler([n.latency_ms for n in nodes], latency_ms)
    latencies = [0.0] * len(graph.kernels)
    operators: list[list[str]] = [[] for _ in graph.kernels]
    for owner, node, time in zip(owners, nodes, times, strict=True):
        latencies[owner] += time
        operators[owner].append(node.operator)
    return tuple(Share(time, tuple(names)) for time, names in zip(latencies, operators, strict=True))


def _without_profiler(times: Sequence[float], latency_ms: float) -> list[float]:
    extra = min(max(sum(times) - latency_ms, 0.0) / max(len(times), 1), _MOST_OF_PROFILER_MS)
    less = [max(time - extra, LEAST_MS) for time in times]
    scale = latency_ms / sum(less) if less else 1.0
    return [time * scale for time in less]


def _owners(matched: Sequence[MatchedNode], graph: KernelGraph) -> list[int]:
    """Return the place of the kernel that each node's time is charged to."""
    places = {id(kernel): place for place, kernel in enumerate(graph.kernels)}
    owners: list[int | None] = [None if m.kernel is None else places[id(m.kernel)] for m in matched]
    free = [place for place in range(len(graph.kernels)) if place not in set(owners)]
    for index, node in enumerate(matched):
        if owners[index] is None:
            owners[index] = _by_kind(node, graph, free)
    known = list(owners)
    for index, node in enumerate(matched):
        if owners[index] is None:
            owners[index] = _neighbour(index, node, known, graph)
    return [0 if owner is None else owner for owner in owners]


def _by_kind(node: MatchedNode, graph: KernelGraph, free: list[int]) -> int | None:
    """Return the first kernel of the operator's kind that no node was matched with; it is taken from ``free``."""
    kind = _KINDS.get(node.node.operator)
    for place in free:
        if kind is not None and graph.kernels[place].kind == kind:
            free.remove(place)
            return place
    return None


def _neighbour(index: int, node: MatchedNode, known: Sequence[int | None], graph: KernelGraph) -> int | None:
    before = next((o for o in reversed(known[:index]) if o is not None), None)
    after = next((o for o in known[index + 1 :] if o is not None), None)
    same = [o for o in (before, after) if o is not None and graph.kernels[o].layer == node.layer]
    if same:
        return same[0]
    first, second = (after, before) if node.node.operator in _FOR_THE_NEXT else (before, after)
    return second if first is None else first
