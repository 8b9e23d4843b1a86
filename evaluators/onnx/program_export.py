"""A network as a program of ``torch.export``, with axes that vary as far as that was seen to be right."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from ...errors import EvaluationError, describe
from ...spaces.inputs import call
from ..hardware.recording import evaluating
from ..task.dynamic_axes import DynamicAxes, dynamic_axes, sample_inputs
from ..task.task import Inputs, Task
from .dynamic_export import Exported, Forward, widest
from .export_probes import Probe, probes, traced_input
from .named_tensors import named_inputs, named_outputs
from .onnx_export import Refusals, first_words
from .quiet_export import quiet_export


class NamedOutputs(nn.Module):
    """A network whose outputs are a dict of tensors: an object of a class of its own cannot stand in a program."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.training = network.training

        def named(*args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
            return named_outputs(network(*args, **kwargs))

        # torch.export asks the signature which argument an axis is of.
        self.forward = functools.wraps(network.forward)(named)


def export_program(model: nn.Module, task: Task) -> Exported[torch.export.ExportedProgram]:
    """Return a network as a program whose inputs vary along as many axes as it computes right.

    Raises:
        EvaluationError: the network cannot be exported at all.
        TaskError: the task declares an axis that there is not.
    """
    samples = list(sample_inputs(task))
    axes = dynamic_axes(task, model, samples)
    tried = probes(model, task.example_input, axes, samples)
    with torch.no_grad():
        plain = _is_plain(call(model, task.example_input))
    subject = model if plain else NamedOutputs(model).eval()

    def make(left: DynamicAxes) -> tuple[torch.export.ExportedProgram, Forward]:
        program = _program(subject, traced_input(model, task.example_input, left), model, left)
        return program, _forward(program)

    return widest(axes, tried, iter([make]))


def _is_plain(outputs: Any) -> bool:
    if isinstance(outputs, Mapping):
        return type(outputs) is dict and all(map(_is_plain, outputs.values()))
    if isinstance(outputs, tuple | list):
        return all(map(_is_plain, outputs))
    return outputs is None or isinstance(outputs, torch.Tensor | int | float | bool | str)


def _program(subject: nn.Module, traced: Inputs, model: nn.Module, axes: DynamicAxes) -> torch.export.ExportedProgram:
    args, kwargs = _arguments(traced)
    shapes: Any = torch.export.ShapesCollection()  # as export takes it, though its declared type says otherwise
    for name, tensor in named_inputs(model, traced).items():
        if name in axes.names:
            shapes[tensor] = dict.fromkeys(axes.names[name], torch.export.Dim.AUTO)
    try:
        with evaluating(subject), torch.no_grad(), quiet_export():
            return torch.export.export(subject, args, kwargs, dynamic_shapes=shapes if axes.names else None)
    except (*Refusals, AssertionError) as error:
        raise EvaluationError(
            describe(
                f"torch.export fails: {first_words(error)}",
                expected="a network that torch.export takes",
                remedy="Leave pt2 out of --formats.",
            )
        ) from error


def _arguments(inputs: Inputs) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (inputs if isinstance(inputs, tuple) else (inputs,)), {}


def _forward(program: torch.export.ExportedProgram) -> Forward:
    module = program.module()

    def forward(probe: Probe) -> list[np.ndarray]:
        with torch.no_grad():
            return [t.detach().cpu().numpy() for t in named_outputs(call(module, probe.given)).values()]

    return forward
