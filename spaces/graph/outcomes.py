"""What networks give in a pass, ready to be compared: outputs, gradients, and why there are none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from .comparison import values_of
from .faults import told
from .output_shapes import OutputShapes
from .outputs import found_in
from .passes import ForwardPass, Outcome, run
from .random_numbers import Draws


@dataclass(frozen=True)
class DenseOutcome:
    """What the dense network gives in one pass."""

    shapes: OutputShapes
    values: list[torch.Tensor]
    draws: Draws
    all_integers: bool
    """Whether no output is a floating-point number, so that equal ones say little."""
    decided_by: list[torch.Tensor]
    """What the outputs were rounded or chosen from, where they are all integers."""

    @classmethod
    def of(cls, model: nn.Module, forward: ForwardPass) -> DenseOutcome:
        """Run ``model``, a copy of one's own, once."""
        outcome = run(model, forward)
        tensors = [tensor for _, tensor in found_in(outcome.outputs).tensors]
        integers = not any(t.is_floating_point() or t.is_complex() for t in tensors if t.numel())
        source = run(model, forward, watch_integers=True).decided_by if integers else []
        return cls(OutputShapes.of(outcome.outputs), values_of(outcome.outputs), outcome.draws, integers, source)


def with_integers(
    small: Outcome, values: list[torch.Tensor], twin: Outcome | DenseOutcome, wanted: list[torch.Tensor]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return both networks' values, with those that all outputs were rounded or chosen from where they are integers."""
    pairs = [(a.double(), b.double()) for a, b in zip(small.decided_by, twin.decided_by, strict=False)]
    alike = [(a, b) for a, b in pairs if a.shape == b.shape]
    return [*values, *(a for a, _ in alike)], [*wanted, *(b for _, b in alike)]


def gradients_of(network: nn.Module, outcome: Outcome) -> dict[str, torch.Tensor]:
    """Return the gradients of all outputs together by the parameters' names.

    Raises:
        ArithmeticError: one is not finite.
    """
    tensors = [tensor for _, tensor in found_in(outcome.outputs).tensors]
    sources = [t for t in tensors if t.requires_grad and not t.is_complex()]
    parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
    if not sources or not parameters:
        return {}
    found = torch.autograd.grad([t.sum() for t in sources], list(parameters.values()), allow_unused=True)
    gradients = {name: g for name, g in zip(parameters, found, strict=True) if g is not None}
    if not all(bool(torch.isfinite(g).all()) for g in gradients.values()):
        raise ArithmeticError("a gradient is not finite")
    return gradients


def fault_of(action: Callable[[], object]) -> str | None:
    """Return the error that ``action`` raises, in words, or ``None`` where it raises none."""
    # A wrong cut can raise anything at all inside a stranger's forward; each such error is a finding, not a crash.
    try:
        action()
    except Exception as error:  # noqa: BLE001
        return told(error)
    return None
