"""Outputs of every candidate have the dense network's form, on the task's inputs and on its validation data."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from espalier import Task, trace
from espalier.errors import EvaluationError, TaskError
from espalier.evaluators.hardware import load_device
from espalier.evaluators.onnx.output_check import OutputCheck
from espalier.evaluators.request import EvaluationRequest
from espalier.evaluators.task.example_inputs import example_inputs
from espalier.evaluators.task_evaluator import TaskEvaluator
from espalier.spaces import Policy, rank


class Widened(nn.Module):
    """Returns more classes than it should where ``when`` says so."""

    def __init__(self, network: nn.Module, when) -> None:
        super().__init__()
        self.network, self.when = network, when

    def forward(self, x):
        scores = self.network(x)
        return torch.cat([scores, scores], 1) if self.when(x) else scores


def test_a_list_of_examples_is_taken_apart(stripes_task):
    first, second = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
    task = dataclasses.replace(stripes_task, example_input=[first, second])
    again = dataclasses.replace(task, name="again")
    assert again.example_input is first
    assert [each.shape[0] for each in example_inputs(again)] == [1, 1, 2]
    assert example_inputs(again)[1] is second
    assert torch.equal(example_inputs(again)[2], stripes_task.validation[0][:2])
    with pytest.raises(TaskError, match="empty list"):
        dataclasses.replace(stripes_task, example_input=[])


def test_another_form_is_refused_on_whichever_input_it_shows(stripes_task):
    dense = stripes_task.model()
    check = OutputCheck.of(dense, stripes_task)
    assert check.objection(dense) is None
    assert "(1, 4)" in (check.objection(Widened(dense, lambda x: True)) or "")
    # An example of zeros does not show it, the first validation samples do.
    assert "(2, 4)" in (check.objection(Widened(dense, lambda x: bool(x.any()))) or "")
    with pytest.raises(EvaluationError, match="the candidate returns an output of shape"):
        check.refuse(Widened(dense, lambda x: True), "the candidate")


def test_sizes_that_depend_on_values_are_left_open(stripes_task):
    class Found(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, x):
            return self.network(x), x[x.abs() > 0.5]

    task = dataclasses.replace(stripes_task, example_input=torch.full((1, 1, 8, 8), 0.1))
    check = OutputCheck.of(Found(task.model()), task)
    assert check.objection(Found(task.model())) is None
    assert check.objection(task.model()) is not None


def test_a_trial_whose_outputs_differ_fails_with_the_reason(stripes_task, monkeypatch):
    model = stripes_task.model()
    graph = trace(model, example_inputs(stripes_task))
    evaluator = TaskEvaluator(stripes_task, graph, rank(model, graph, ["l2"]), load_device("x86-avx2"))
    pruned = evaluator.pruned
    monkeypatch.setattr(evaluator, "pruned", lambda *args: Widened(pruned(*args), lambda x: True))
    with pytest.raises(EvaluationError, match=r"trial 3: the pruned network returns an output of shape \(1, 4\)"):
        evaluator.evaluate(EvaluationRequest(3, Policy.uniform(graph, 0.5), samples=8, seed=0))


def test_the_tasks_own_data_are_inputs_for_tracing(stripes_task: Task):
    """The example of zeros takes one way, real images another: its layer is followed all the same."""

    class Choosing(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.dark, self.bright = nn.Linear(64, 12), nn.Linear(12, 2), nn.Linear(12, 2)

        def forward(self, x):
            h = torch.relu(self.body(x.flatten(1)))
            return (self.bright if x.sum() != 0 else self.dark)(h)

    task = dataclasses.replace(stripes_task, model=lambda: Choosing().eval())
    graph = trace(task.model(), example_inputs(task))
    assert {piece.layer for piece in graph.group("body").slices} == {"body", "dark", "bright"}
    assert any("example input 2 also run: bright" in note for note in graph.notes)
