"""A perturbed copy of a network and random inputs, on which a mistake shows."""

from __future__ import annotations

import torch
from torch import nn

from ..inputs import Inputs, random_like
from .copying import copied
from .outcomes import DenseOutcome, fault_of
from .output_shapes import OutputShapes
from .passes import ForwardPass, Outcome, run

_EDGES = (64, 96, 128, 160)
"""Resolutions that are tried in turn, in pixels: Inception needs 75."""


def smaller(model: nn.Module, example_input: Inputs) -> Inputs:
    """Return the input at a lower resolution where the network takes one, as soundness does not depend on it."""
    if not isinstance(example_input, torch.Tensor) or example_input.dim() != 4 or min(example_input.shape[2:]) < 128:
        return example_input
    wanted: OutputShapes | None = None
    for edge in (edge for edge in _EDGES if edge < min(example_input.shape[2:])):
        small = example_input[:, :, :edge, :edge]
        shapes = _shapes(model, small)
        if shapes is not None:
            wanted = wanted or OutputShapes.of(_run(model, example_input).outputs)
            if shapes == wanted:
                return small
    return example_input


def _shapes(model: nn.Module, inputs: Inputs) -> OutputShapes | None:
    found: list[OutputShapes] = []
    fault_of(lambda: found.append(OutputShapes.of(_run(model, inputs).outputs)))
    return found[0] if found else None


def drawn(model: nn.Module, inputs: Inputs, generator: torch.Generator) -> tuple[Inputs, DenseOutcome | None]:
    """Return random inputs of two samples, or of one where the first dimension is no batch and cannot be two.

    With them comes what ``model`` gives on two samples.
    """
    two, found = random_like(inputs, generator), list[DenseOutcome]()
    if fault_of(lambda: found.append(DenseOutcome.of(copied(model, lazy=True), ForwardPass(two)))) is None:
        return two, found[0]
    return random_like(inputs, generator, batch=1), None


def _run(model: nn.Module, inputs: Inputs) -> Outcome:
    return run(model, ForwardPass(inputs))


def perturb_(model: nn.Module, generator: torch.Generator) -> None:
    """Shift every parameter by a tenth of its spread, in place."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point() and parameter.numel() > 0:
                spread = float(parameter.std()) if parameter.numel() > 1 else 0.0
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
                parameter.add_(0.1 * (spread or 1.0) * noise.to(parameter.dtype))
