"""Whether a task's network can be exported, found out before a search: a trial on the dense network and real data.

A graph is traced once. An operator without an ONNX form ends the export; a branch that depends on values does not, and
the file then computes one of its sides for every input, so it is compared with PyTorch on validation data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.jit import TracerWarning  # pyright: ignore[reportPrivateImportUsage] - public, but not in its __all__

from ...errors import EvaluationError, InputError, describe
from ...spaces.inputs import Inputs, call
from ..hardware.recording import evaluating
from ..task.dynamic_axes import DynamicAxes, sample_inputs
from ..task.task import Task
from .dynamic_export import Forward, disparity, export_dynamic, onnx_forward
from .export_probes import Probe, probe_of, single_rows
from .named_tensors import FlatNetwork, named_inputs
from .onnx_export import Refusals, export_onnx, first_words
from .quiet_export import quiet_export

ROWS = 32
"""Validation samples on which the exported network is compared with PyTorch one by one."""


@dataclass(frozen=True)
class ExportCheck:
    """What came of trying to export the dense network."""

    reason: str = ""
    """Why it cannot be exported; empty where it can."""
    remedy: str = ""
    axes: DynamicAxes = field(default_factory=DynamicAxes)
    """Along which the exported network takes any size."""
    fixed: tuple[tuple[str, str], ...] = ()
    """What cannot vary in it, and why."""

    @property
    def passed(self) -> bool:
        """Whether the network can be exported."""
        return not self.reason

    @property
    def words(self) -> str:
        """What came of it, in a sentence or two."""
        if not self.passed:
            return f"{self.reason}. {self.remedy}"
        varying = " and ".join(self.axes.dimensions)
        lines = [f"ok, for any {varying}" if varying else "ok, for a batch of 1 of the example's size alone"]
        return "; ".join([*lines, *(f"the {name} may have to stay fixed: {why}" for name, why in self.fixed)])

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "passed": self.passed,
            "reason": self.reason,
            "remedy": self.remedy,
            "dynamic": self.axes.to_dict(),
            "fixed": dict(self.fixed),
        }


def try_export(model: nn.Module, task: Task) -> ExportCheck:
    """Export the dense network, run the file on validation data beside PyTorch, and return what came of it.

    Raises:
        TaskError: the task declares an axis that there is not.
    """
    try:
        file = export_onnx(model, task.example_input)
        forward = onnx_forward(file)
    except EvaluationError as error:
        return _refused(model, task.example_input, error)
    samples = list(sample_inputs(task))
    wrong = _first_disparity(_rows(model, task, samples), forward)
    if wrong is not None:
        return _differing(model, task.example_input, wrong)
    exported = export_dynamic(model, task, quick=True)
    return ExportCheck(axes=exported.axes, fixed=tuple(exported.fixed.items()))


def check_export(model: nn.Module, task: Task) -> ExportCheck:
    """Try the export.

    Raises:
        InputError: the network cannot be exported; the message names the operator and the layer, or the output that
            differs, and what to do.
    """
    found = try_export(model, task)
    if not found.passed:
        raise InputError(
            describe(
                f"the network of task {task.name!r} cannot be exported: {found.reason}",
                expected="a network that ONNX Runtime computes as PyTorch does, as every configuration is exported",
                remedy=f"{found.remedy} To search all the same, and export the weights alone (--formats safetensors), "
                "give --no-export-check.",
            )
        )
    return found


def _rows(model: nn.Module, task: Task, samples: Sequence[Inputs]) -> list[Probe]:
    """Return the example and single samples of the data of its size, as the fixed file takes no other."""
    rows = [task.example_input, *single_rows(model, task.example_input, samples, ROWS)]
    return [probe for inputs in rows if (probe := probe_of(model, inputs, DynamicAxes())) is not None]


def _first_disparity(rows: Sequence[Probe], forward: Forward) -> str | None:
    for number, probe in enumerate(rows):
        wrong = disparity(probe, forward)
        if wrong is not None:
            return f"on {f'validation sample {number - 1}' if number else 'the example input'} {wrong}"
    return None


def _differing(model: nn.Module, example_input: Inputs, wrong: str) -> ExportCheck:
    places = _values_that_decide(model, example_input)
    cause = f": its forward pass decides by values, at {', '.join(places[:3])}" if places else ""
    return ExportCheck(
        f"the file computes something else than PyTorch{cause}; {wrong}",
        "Compute both sides and choose by torch.where, and keep to PyTorch's operators throughout.",
    )


def _values_that_decide(model: nn.Module, example_input: Inputs) -> list[str]:
    """Return the places in the user's code where a tensor becomes a plain value, as a trace notes them."""
    tensors = tuple(named_inputs(model, example_input).values())
    with evaluating(model), torch.no_grad(), quiet_export() as caught:
        try:
            torch.jit.trace(FlatNetwork(model, example_input), tensors, check_trace=False)
        except Refusals:
            return []
    own = [w for w in caught if issubclass(w.category, TracerWarning) and "Python" in str(w.message)]
    library = str(Path(torch.__file__).parent)
    return list(dict.fromkeys(f"{Path(w.filename).name}:{w.lineno}" for w in own if not w.filename.startswith(library)))


def _refused(model: nn.Module, example_input: Inputs, error: EvaluationError) -> ExportCheck:
    words = first_words(error.__cause__ or error)
    operator = _operator(words)
    layer = None if _exports(model, example_input) else failing_layer(model, example_input)
    if layer is None:
        return ExportCheck(words, "Replace the operator named.")
    where = f" in layer {layer[0]!r} ({layer[1]})" if layer[0] else " in the network's own forward pass"
    what = f"the operator {operator} has no ONNX form" if operator else words
    return ExportCheck(
        f"{what}{where}",
        "Replace the operator by others, or move it out of the network, before or behind it.",
    )


def _operator(words: str) -> str | None:
    found = re.search(r"operator '([\w:.]+)'|OpOverload\(op='([\w.:]+)'|Python operator (\w+)|(\w+::\w+)", words)
    return next((name for name in found.groups() if name), None) if found else None


def failing_layer(model: nn.Module, example_input: Inputs) -> tuple[str, str]:
    """Return the innermost module that cannot be exported alone, and its class; the empty name is the network."""
    calls = _calls(model, example_input)
    name, found = "", model
    while True:
        children = [(f"{name}.{child}".lstrip("."), module) for child, module in found.named_children()]
        failing = next((c for c in children if c[0] in calls and not _exports(c[1], calls[c[0]])), None)
        if failing is None:
            return name, type(found).__name__
        name, found = failing


def _exports(module: nn.Module, inputs: Inputs) -> bool:
    try:
        export_onnx(module, inputs, fast=True)
    except EvaluationError:
        return False
    return True


def _calls(model: nn.Module, example_input: Inputs) -> dict[str, Inputs]:
    """Return what each module is called with, at its first call."""
    calls: dict[str, Inputs] = {}
    handles = []

    def note(name: str) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not (args and kwargs):  # one form or the other; a call of both is left to the module around it
                calls.setdefault(name, kwargs if kwargs else args)

        return hook

    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(note(name), with_kwargs=True))
    try:
        with evaluating(model), torch.no_grad():
            call(model, example_input)
    finally:
        for handle in handles:
            handle.remove()
    return calls
