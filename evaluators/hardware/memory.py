"""Peak activation memory of a network, by liveness over its fused kernels."""

from __future__ import annotations

from .kernels import Kernel, KernelGraph
from .operations import CONVOLUTIONS

_ELEMENT_BY_ELEMENT = ("elementwise", "activation")


def peak_memory_bytes(graph: KernelGraph, *, element_bytes: int = 4, in_place: bool = False) -> int:
    """Return the largest sum of live activations, in bytes, over the kernels in execution order.

    A value lives from the kernel that writes it to the last that reads it; the network's inputs live from the start,
    its outputs to the end. A kernel's inputs and outputs are live together, but for what is computed in place. Weights
    and a runtime's own buffers are not in it.

    Args:
        graph: the fused kernels.
        element_bytes: bytes of one floating-point activation at the precision: 4 at fp32, 1 at int8.
        in_place: whether the runtime lets an elementwise kernel, or an addition fused into a convolution, write over an
            operand of the same size that nothing reads afterwards. The network's own inputs are never written over.
    """
    last_read = _last_reads(graph)
    live = dict.fromkeys(graph.inputs, 0)
    peak = 0
    for step, kernel in enumerate(graph.kernels):
        live.update(dict.fromkeys(kernel.outputs, step))
        dead = {number for number in kernel.inputs if last_read[number] == step and number not in graph.inputs}
        shared = _written_over(kernel, dead, graph, element_bytes) if in_place else 0
        peak = max(peak, sum(graph.values[number].size(element_bytes) for number in live) - shared)
        live = {n: s for n, s in live.items() if last_read.get(n, -1) > step}
    return peak


def _written_over(kernel: Kernel, dead: set[int], graph: KernelGraph, element_bytes: int) -> int:
    """Return the bytes of the operand that the kernel's first output takes the place of; 0 where there is none."""
    operands = kernel.inputs
    if kernel.kind in CONVOLUTIONS and "add" in kernel.operators:
        operands = kernel.inputs[1:]  # a convolution's own input is read throughout
    elif kernel.kind not in _ELEMENT_BY_ELEMENT:
        return 0
    size = graph.values[kernel.outputs[0]].size(element_bytes)
    return size if any(n in dead and graph.values[n].size(element_bytes) == size for n in operands) else 0


def _last_reads(graph: KernelGraph) -> dict[int, int]:
    last: dict[int, int] = {}
    for step, kernel in enumerate(graph.kernels):
        last.update(dict.fromkeys(kernel.inputs, step))
    last.update(dict.fromkeys(graph.outputs, len(graph.kernels)))
    return last
