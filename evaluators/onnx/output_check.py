"""Whether a pruned network gives outputs of the dense network's form, on a task's example inputs and on real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ...errors import EvaluationError, describe
from ...spaces.graph.output_shapes import OutputShapes
from ...spaces.graph.outputs import check_seen
from ...spaces.graph.random_numbers import seeded
from ...spaces.inputs import Inputs, call, random_like, tensors_of
from ..task.example_inputs import example_inputs
from ..task.task import Task


@dataclass(frozen=True)
class OutputCheck:
    """Inputs, and the form that the dense network's outputs have on each."""

    inputs: Sequence[Inputs]
    expected: Sequence[OutputShapes]

    @classmethod
    def of(cls, dense: nn.Module, task: Task) -> OutputCheck:
        """Run the dense network on the task's inputs; sizes that depend on values are left open.

        Raises:
            InputError: its outputs hold no tensor that can be seen.
        """
        inputs = example_inputs(task)
        found = [_shapes(dense, each) for each in inputs]
        # Random inputs besides, so that a number of boxes found is no part of the form.
        drawn = random_like(task.example_input, torch.Generator().manual_seed(0), batch=1)
        varied = [*zip(inputs, found, strict=True), (drawn, _shapes(dense, drawn))]
        expected = [OutputShapes.common(s for i, s in varied if _kind(i) == _kind(each)) for each in inputs]
        return cls(inputs, expected)

    def objection(self, network: nn.Module) -> str | None:
        """Return how the outputs of ``network``, in eval mode, differ in form, or ``None`` where they do not."""
        for inputs, expected in zip(self.inputs, self.expected, strict=True):
            objection = expected.objection(_outputs(network, inputs))
            if objection is not None:
                return objection
        return None

    def refuse(self, network: nn.Module, name: str) -> None:
        """Refuse a network whose outputs have another form.

        Raises:
            EvaluationError: they have.
        """
        objection = self.objection(network)
        if objection is not None:
            raise EvaluationError(
                describe(
                    f"{name} returns {objection}",
                    expected="outputs of the dense network's shapes and types",
                    remedy="Freeze the layers that make them (freeze=), and report the network.",
                )
            )


def _outputs(network: nn.Module, inputs: Inputs) -> Any:
    training = network.training
    try:
        with seeded(), torch.no_grad():
            return call(network.eval(), inputs)
    finally:
        network.train(training)


def _shapes(network: nn.Module, inputs: Inputs) -> OutputShapes:
    outputs = _outputs(network, inputs)
    check_seen(outputs)
    return OutputShapes.of(outputs)


def _kind(inputs: Inputs) -> list[Any]:
    return [(tuple(t.shape), t.dtype) for t in tensors_of(inputs)]
