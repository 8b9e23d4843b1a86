"""Peak activation memory of a network, by liveness over its fused kernels."""

from __future__ import annotations

from .kernels import KernelGraph


def peak_memory_bytes(graph: KernelGraph, *, element_bytes: int = 4) -> int:
    """Return the largest sum of live activations, in bytes, over the kernels in execution order.

    A value lives from the kernel that writes it to the last that reads it; the network's inputs live from the start,
    its outputs to the end. A kernel's inputs and outputs are live together: nothing is computed in place. Weights and
    a runtime's own buffers are not in it.

    Args:
        graph: the fused kernels.
        element_bytes: bytes of one floating-point activation at the precision: 4 at fp32, 1 at int8.
    """
    last_read = _last_reads(graph)
    live = dict.fromkeys(graph.inputs, 0)
    peak = 0
    for step, kernel in enumerate(graph.kernels):
        live.update(dict.fromkeys(kernel.outputs, step))
        peak = max(peak, sum(graph.values[number].size(element_bytes) for number in live))
        live = {n: s for n, s in live.items() if last_read.get(n, -1) > step}
    return peak


def _last_reads(graph: KernelGraph) -> dict[int, int]:
    last: dict[int, int] = {}
    for step, kernel in enumerate(graph.kernels):
        last.update(dict.fromkeys(kernel.inputs, step))
    last.update(dict.fromkeys(graph.outputs, len(graph.kernels)))
    return last
