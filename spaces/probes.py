"""A perturbed copy of a network and random inputs, on which a mistake shows."""

from __future__ import annotations

import torch
from torch import nn

from .inputs import Inputs, random_like
from .outcomes import fault_of
from .output_shapes import OutputShapes
from .passes import ForwardPass, Outcome, run

_EDGES = (64, 96, 128, 160)
"""Resolutions that are tried in turn, in pixels: Inception needs 75."""


def smaller(model: nn.Module, example_input: Inputs) -> Inputs:
    """Return the input at a lower resolution where the network takes one, as soundness does not depend on it."""
    if not isinstance(example_input, torch.Tensor) or example_input.dim() != 4 or min(example_input.shape[2:]) < 128:
        return example_input
    wanted = OutputShapes.of(_run(model, example_input).outputs)
    for edge in (edge for edge in _EDGES if edge < min(example_input.shape[2:])):
        small, shapes = example_input[:, :, :edge, :edge], list[OutputShapes]()
        fault = fault_of(lambda small=small, shapes=shapes: shapes.append(OutputShapes.of(_run(model, small).outputs)))
        if fault is None and shapes[0] == wanted:
            return small
    return example_input


def drawn(model: nn.Module, inputs: Inputs, generator: torch.Generator) -> Inputs:
    """Return random inputs of two samples, or of one where the first dimension is no batch and cannot be two."""
    two = random_like(inputs, generator)
    return two if fault_of(lambda: _run(model, two)) is None else random_like(inputs, generator, batch=1)


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
