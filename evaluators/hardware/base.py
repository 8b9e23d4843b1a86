"""What a network costs on a device, and the protocol of everything that can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import nn

from ..task.task import Inputs


@dataclass(frozen=True)
class LayerCost:
    """One fused kernel of a network and its share of the cost."""

    layer: str
    """Qualified name of the module that the kernel belongs to, or of the operation."""
    kind: str
    """``conv``, ``depthwise_conv``, ``pointwise_conv``, ``linear``, ``matmul``, ``pool``, ``elementwise``, ..."""
    macs: int
    bytes_moved: int
    """Inputs, outputs and weights, read or written once each."""
    latency_ms: float | None


@dataclass(frozen=True)
class Cost:
    """What one network costs for one input on one device; unknown quantities are ``None``."""

    latency_ms: float
    latency_low: float
    latency_high: float
    source: str
    """``measured``, ``learned``, ``roofline`` or ``vela``."""
    size_bytes: int
    """Parameters as stored at the precision; masked weights, where the caller says which, in a sparse encoding."""
    macs: int
    params: int
    peak_memory_bytes: int
    energy_mj: float | None
    fits: bool
    """Whether size and peak memory are within the device's limits."""
    excess: Mapping[str, int] = field(default_factory=dict)
    """By how many bytes it exceeds ``flash`` and ``RAM``, the runtime's own taken off; empty where it fits."""
    dense_size_bytes: int | None = None
    """The parameters without a sparse encoding, where ``size_bytes`` is told with one."""
    precision: str = "fp32"
    """What latency, size, memory and energy are told for: the precision that the network is deployed at."""
    layers: tuple[LayerCost, ...] = ()

    @property
    def latency_error(self) -> float:
        """How far the latency's interval reaches above it, as a fraction of it; below it reaches as far, down to 0."""
        return self.latency_high / self.latency_ms - 1


@runtime_checkable
class CostModel(Protocol):
    """Says what a network costs on the device it was made for."""

    source: str
    """``measured``, ``learned``, ``roofline`` or ``vela``."""

    def supports(self, precision: str) -> bool:
        """Return whether costs at this precision can be told."""
        ...

    def estimate(
        self, model: nn.Module, example_input: Inputs, *, precision: str = "fp32", onnx: bytes | None = None
    ) -> Cost:
        """Return the cost of one forward pass of ``model`` on ``example_input`` (a batch of 1).

        Args:
            model: the network.
            example_input: a batch of 1.
            precision: that it runs at.
            onnx: the very file that will run, where there is one already, as at int8; made from ``model`` otherwise.

        Raises:
            EvaluationError: the network cannot run, be exported or be told.
        """
        ...

    def estimate_together(
        self,
        models: Sequence[nn.Module],
        example_input: Inputs,
        *,
        precisions: Sequence[str],
        onnx: Sequence[bytes | None] = (),
    ) -> tuple[Cost, ...]:
        """Return the costs of several networks, told under the same conditions so that they can be compared.

        ``onnx`` holds each network's file or ``None``; where it is empty all are made from the networks.
        """
        ...

    def profile(
        self, model: nn.Module, example_input: Inputs, *, precision: str = "fp32", onnx: bytes | None = None
    ) -> tuple[LayerCost, ...]:
        """Return what each fused kernel of ``model`` costs, in execution order."""
        ...

    def alignment(self, precision: str = "fp32") -> int:
        """Return the channel multiple worth searching on."""
        ...
