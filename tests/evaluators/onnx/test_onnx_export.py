"""Exported files whose inputs vary, in ONNX Runtime at several batches and lengths beside PyTorch."""

from __future__ import annotations

from dataclasses import replace

import espalier_test_varying as v  # conftest.py makes it importable
import numpy as np
import onnx
import pytest
import torch
from torch import nn

from espalier import Task
from espalier.errors import TaskError, UnknownNameError
from espalier.evaluators.hardware.onnxruntime_session import open_session
from espalier.evaluators.onnx.dynamic_export import export_dynamic
from espalier.evaluators.onnx.named_tensors import named_inputs, named_outputs
from espalier.evaluators.onnx.onnx_export import export_onnx
from espalier.evaluators.onnx.onnx_network import deploy
from espalier.evaluators.onnx.onnx_pinning import pinned
from espalier.evaluators.onnx.program_export import export_program
from espalier.evaluators.onnx.quantisation import quantise
from espalier.spaces.apply import prune
from espalier.spaces.graph.trace import trace
from espalier.spaces.inputs import call
from espalier.spaces.policy import Choice, Policy

LENGTHS = (6, 9)
CASES = {
    "text": (v.Text, v.padded, {"batch", "length"}, ["logits", "hidden_0"]),
    "gru": (v.Tagger, v.words, {"batch", "length"}, ["output"]),
    "lstm": (lambda: v.Tagger(nn.LSTM), v.words, {"batch", "length"}, ["output"]),
    "gpt": (v.Gpt, v.words, {"batch", "length"}, ["output"]),
    "detector": (
        v.Detector,
        lambda b, n: v.normal(b, 3, 4 * n, 4 * n + 8),
        {"batch", "height", "width"},
        ["scores", "boxes"],
    ),
    "pair": (
        v.Pair,
        lambda b, n: (v.normal(b, n, 4), v.normal(b, n, 6)),
        {"batch", "length"},
        ["output_0", "output_1"],
    ),
}


def task_of(build, make, **fields) -> Task:
    model = v.made(build)
    data = v.Batched([make(4, n) for n in LENGTHS], 4)
    return Task(
        name="varying", model=lambda: model, example_input=make(1, LENGTHS[0]), train=data, validation=data, **fields
    )


def run(file: bytes, model: nn.Module, inputs) -> dict[str, np.ndarray]:
    session = open_session(file, threads=1)
    feed = {name: tensor.numpy() for name, tensor in named_inputs(model, inputs).items()}
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feed), strict=True))


def assert_same(file: bytes, model: nn.Module, inputs) -> None:
    with torch.no_grad():
        expected = named_outputs(call(model, inputs))
    found = run(file, model, inputs)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        np.testing.assert_allclose(found[name], tensor.numpy(), atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_a_file_takes_any_batch_and_length(name):
    build, make, dimensions, outputs = CASES[name]
    task = task_of(build, make)
    model = task.model()
    found = export_dynamic(model, task)
    assert set(found.axes.dimensions) == dimensions
    assert not found.fixed
    for batch, length in ((1, 6), (2, 6), (8, 6), (1, 9), (8, 9), (3, 5)):
        assert_same(found.file, model, make(batch, length))
    assert [o.name for o in onnx.load_from_string(found.file).graph.output] == outputs


def test_what_varies_is_found_in_the_data_or_declared():
    found = export_dynamic(v.made(v.Text), task_of(v.Text, v.padded))
    names = {name: {0: "batch", 1: "length"} for name in ("input_ids", "attention_mask")}
    assert found.axes.names == names
    words = v.words(6, 6)
    fixed = Task(
        name="t",
        model=lambda: v.made(v.Tagger),
        example_input=words[:1],
        train=(words, words),
        validation=(words, words),
    )
    assert export_dynamic(fixed.model(), fixed).axes.names == {"words": {0: "batch"}}
    declared = replace(fixed, dynamic={"words": {1: "steps"}})
    found = export_dynamic(fixed.model(), declared)
    assert found.axes.names == {"words": {0: "batch", 1: "steps"}}
    assert any("steps 3" in tried for tried in found.tried)
    assert_same(found.file, fixed.model(), v.words(2, 17))


@pytest.mark.parametrize(
    ("dynamic", "error", "words"),
    [
        ({"word": {1: "length"}}, UnknownNameError, "Did you mean 'words'"),
        ({"words": {2: "length"}}, TaskError, "has 2 axes"),
        ({"words": {1: "batch"}}, TaskError, "axis 0 is 'batch'"),
    ],
)
def test_a_declared_axis_that_there_is_not_is_refused(dynamic, error, words):
    task = task_of(v.Tagger, v.words, dynamic=dynamic)
    with pytest.raises(error, match=words):
        export_dynamic(task.model(), task)


def test_what_the_graph_holds_as_a_constant_stays_fixed_and_is_said_so():
    x = v.normal(8, 4)
    model = v.made(v.FixedView)
    task = Task(name="f", model=lambda: model, example_input=x[:1], train=(x, x), validation=(x, x))
    found = export_dynamic(model, task)
    assert found.axes.names == {}
    assert "differs from PyTorch" in found.fixed["batch"]
    assert_same(found.file, model, x[:1])


def test_an_input_that_nothing_reads_and_one_called_like_a_weight_stay():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(v.normal(4, 4))

        def forward(self, weight, unused=None, *, scale=None):
            return {"weight": weight @ self.weight, "again": weight}

    x = {"weight": v.normal(6, 4), "unused": v.normal(6, 2)}
    one = {"weight": x["weight"][:1], "unused": x["unused"][:1], "scale": None}
    model = Odd().eval()
    given = v.Batched([x], 6)
    task = Task(name="odd", model=lambda: model, example_input=one, train=given, validation=given)
    found = export_dynamic(model, task)
    graph = onnx.load_from_string(found.file).graph
    assert [i.name for i in graph.input] == ["weight", "unused"]
    assert [o.name for o in graph.output] == ["weight_output", "again"]
    feed = {"weight": x["weight"].numpy(), "unused": x["unused"].numpy()}
    outputs = open_session(found.file, threads=1).run(None, feed)
    np.testing.assert_allclose(outputs[0], model(**x)["weight"].detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("name", ["gru", "gpt", "detector", "pair"])
def test_held_to_one_size_a_file_has_the_kernels_of_the_fixed_export(name, tmp_path):
    build, make, *_ = CASES[name]
    task = task_of(build, make)
    model = task.model()
    file = pinned(export_dynamic(model, task).file, task.example_input)
    assert kernels(file, tmp_path) == kernels(export_onnx(model, task.example_input), tmp_path)


def kernels(file: bytes, folder) -> list[str]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return sorted(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


def test_a_dropped_branch_leaves_nothing_where_sizes_vary():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 2, 1)
            self.inner = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))

        def forward(self, x):
            x = self.stem(x).relu()
            return self.head((x + self.inner(x)).relu())

    task = task_of(Residual, lambda b, n: v.normal(b, 3, n, n))
    graph = trace(task.model(), task.example_input)
    name = next(g.name for g in graph.groups if g.branch is not None)
    drop = Choice(type="block", criterion=None, kept=0, of=1)
    small = prune(task.model(), graph, Policy.of(graph, {name: drop}))
    file = export_dynamic(small, task).file
    assert not {"Add", "Expand", "ConstantOfShape"} & {n.op_type for n in onnx.load_from_string(file).graph.node}
    assert_same(file, small, v.normal(2, 3, 7, 7))


@pytest.mark.parametrize("name", ["gru", "detector", "pair"])
def test_an_int8_file_takes_any_batch_and_length_too(name):
    build, make, dimensions, _ = CASES[name]
    task = task_of(build, make)
    model = task.model()
    file = quantise(model, task)
    inputs = onnx.load_from_string(file).graph.input
    assert {d.dim_param for i in inputs for d in i.type.tensor_type.shape.dim} - {""} == dimensions
    network = deploy(model, task, "int8").network
    with torch.no_grad():
        whole = named_outputs(call(network, make(8, 9)))
        expected = named_outputs(call(model, make(8, 9)))
    assert {n: t.shape for n, t in whole.items()} == {n: t.shape for n, t in expected.items()}


def test_a_linear_layer_over_a_sequence_stays_one_int8_kernel(tmp_path):
    task = task_of(v.Pair, CASES["pair"][1])
    file = pinned(quantise(task.model(), task), task.example_input)
    assert kernels(file, tmp_path).count("QGemm") == 2


@pytest.mark.parametrize("name", ["text", "gpt"])
def test_a_program_takes_any_batch_and_length(name, tmp_path):
    build, make, dimensions, _ = CASES[name]
    task = task_of(build, make)
    model = task.model()
    found = export_program(model, task)
    assert set(found.axes.dimensions) == dimensions
    torch.export.save(found.file, tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2").module()
    for batch, length in ((1, 6), (8, 9)):
        inputs = make(batch, length)
        with torch.no_grad():
            expected, outputs = named_outputs(call(model, inputs)), named_outputs(call(program, inputs))
        assert list(outputs) == list(expected)
        for key, tensor in expected.items():
            torch.testing.assert_close(outputs[key], tensor, atol=1e-4, rtol=1e-4)


def test_a_program_of_a_recurrent_network_says_that_its_length_is_fixed():
    task = task_of(v.Tagger, v.words)
    found = export_program(task.model(), task)
    assert found.axes.dimensions == ("batch",)
    assert "length" in found.fixed
