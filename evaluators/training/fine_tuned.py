"""What a task's own fine-tuning gives back must be the network that it was given, trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ...errors import EvaluationError, describe

Shapes = Mapping[str, tuple[int, ...]]


def shapes_of(model: nn.Module) -> Shapes:
    """Return the shapes of a network's parameters by their names."""
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters(remove_duplicate=False)}


def check_fine_tuned(found: Any, shapes: Shapes) -> nn.Module:
    """Return what a ``fine_tune`` gave back, if it is a network with parameters of these ``shapes``, all finite.

    Raises:
        EvaluationError: it is not.
    """
    if not isinstance(found, nn.Module):
        raise EvaluationError(
            describe(
                f"the task's fine_tune returned {'nothing' if found is None else type(found).__name__}",
                expected="the trained network, an nn.Module",
                remedy="End it with `return model`.",
            )
        )
    if (given := shapes_of(found)) != shapes:
        other = sorted({*given, *shapes} - {name for name in shapes if given.get(name) == shapes[name]})
        raise EvaluationError(
            describe(
                f"the task's fine_tune returned a network with another {other[0]}",
                expected="the network that it was given, with weights of the same names and shapes",
                remedy="Train it in place and return it; unwrap it where it was wrapped.",
            )
        )
    for name, parameter in found.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise EvaluationError(
                describe(
                    f"the task's fine_tune left NaN or infinite values in {name}",
                    expected="finite weights",
                    remedy="Lower its learning rate, or clip gradients.",
                )
            )
    return found
