"""The evaluator on a real task, a real network and a real runtime."""

from __future__ import annotations

import dataclasses
import math
import os
import pickle
from pathlib import Path

import cloudpickle
import onnxruntime
import pytest
import torch

from espalier.errors import EvaluationError, RunFolderError
from espalier.evaluators.hardware.device import load_device
from espalier.evaluators.onnx.quantisation import digest, quantise
from espalier.evaluators.request import EvaluationRequest, FinishRequest
from espalier.evaluators.sensitivity import sensitivity
from espalier.evaluators.task_evaluator import TaskEvaluator
from espalier.evaluators.training.scoring import score
from espalier.spaces import Policy, rank, trace

METRICS = {
    "accuracy",
    "train_accuracy",
    "accuracy_recalibrated",
    "latency_ms",
    "size_bytes",
    "dense_size_bytes",
    "macs",
    "params",
    "peak_memory_bytes",
    "energy_mj",
}


@pytest.fixture
def evaluator(stripes_task) -> TaskEvaluator:
    model = stripes_task.model()
    graph = trace(model, stripes_task.example_input)
    return TaskEvaluator(stripes_task, graph, rank(model, graph, ["l2"]), load_device("host"))


def _request(evaluator: TaskEvaluator, path=None, *, trial: int = 3, samples: int = 1_000) -> EvaluationRequest:
    policy = Policy.uniform(evaluator.graph, 0.5)
    return EvaluationRequest(trial, policy, samples, seed=5, weights_path=None if path is None else str(path))


def test_an_evaluation_holds_every_metric_and_its_fidelity(evaluator, tmp_path):
    found = evaluator.evaluate(_request(evaluator, tmp_path / "3.safetensors"))
    assert set(found.metrics) == METRICS
    assert found.samples == 1_000
    assert found.latency_source == "measured"
    assert found.metrics["accuracy"] > 0.9
    assert set(found.seconds) == {"prune", "train", "validate", "cost"}
    # conv 1->8, BatchNorm, conv 8->8, BatchNorm, linear 8->2, by hand
    assert found.metrics["params"] == (8 * 9 + 8) + 16 + (8 * 8 * 9 + 8) + 16 + (8 * 2 + 2)
    assert found.metrics["size_bytes"] == 4 * found.metrics["params"]
    assert found.metrics["macs"] == 64 * 9 * 8 + 64 * 9 * 64 + 16


def test_the_weights_written_rebuild_the_very_network(evaluator, tmp_path):
    request = _request(evaluator, tmp_path / "3.safetensors")
    found = evaluator.evaluate(request)
    model = evaluator.rebuild(request.policy, request.weights_path)
    assert score(model, evaluator.task, evaluator.task.validation) == found.metrics["accuracy"]
    assert [p.name for p in tmp_path.iterdir()] == ["3.safetensors"]


def test_one_seed_gives_one_accuracy_and_the_dense_network_stays_as_it_was(evaluator):
    before = {k: v.clone() for k, v in evaluator.dense_model.state_dict().items()}
    first, second = (evaluator.evaluate(_request(evaluator)).metrics for _ in range(2))
    for name in ("accuracy", "train_accuracy", "accuracy_recalibrated"):
        assert first[name] == second[name]
    assert all(torch.equal(before[k], v) for k, v in evaluator.dense_model.state_dict().items())


def test_dense_is_the_network_as_it_was_brought(evaluator):
    dense = evaluator.dense()
    assert dense.samples == 0
    assert dense.metrics["accuracy"] == score(evaluator.dense_model, evaluator.task, evaluator.task.validation)


def test_the_cost_of_a_policy_needs_no_training(evaluator):
    cost = evaluator.cost(Policy.uniform(evaluator.graph, 0.5))
    assert "accuracy" not in cost.metrics
    assert cost.metrics["macs"] < evaluator.dense().metrics["macs"]


def test_finishing_reads_the_test_data_and_measures_dense_and_members_together(evaluator, tmp_path):
    request = _request(evaluator, tmp_path / "3.safetensors")
    evaluator.evaluate(request)
    dense, member = evaluator.finish([FinishRequest(3, request.policy, request.weights_path)])
    assert (dense.trial, member.trial) == (None, 3)
    rebuilt = evaluator.rebuild(request.policy, request.weights_path)
    assert member.metrics["test_accuracy"] == score(rebuilt, evaluator.task, evaluator.task.test)
    assert member.metrics["latency_ms"] > 0
    assert 0 <= member.evaluation.latency_error < 1
    assert sum(layer.macs for layer in member.layers) == member.metrics["macs"]


def test_a_task_without_test_data_has_no_test_accuracy(evaluator):
    evaluator.task = dataclasses.replace(evaluator.task, test=None)
    assert evaluator.finish([])[0].metrics["test_accuracy"] is None


def test_a_candidate_that_diverges_fails_alone(evaluator):
    evaluator.task = dataclasses.replace(evaluator.task, learning_rate=1e30)
    with pytest.raises(EvaluationError):
        evaluator.evaluate(_request(evaluator))


def test_a_loss_that_raises_becomes_that_trials_error(evaluator):
    def broken(outputs, targets):
        raise RuntimeError("out of memory")

    evaluator.task = dataclasses.replace(evaluator.task, loss=broken)
    with pytest.raises(EvaluationError, match="trial 3: RuntimeError: out of memory"):
        evaluator.evaluate(_request(evaluator))


def test_final_numbers_without_the_weights_are_refused_and_not_those_of_the_dense_network(evaluator, tmp_path):
    request = _request(evaluator, samples=0)
    with pytest.raises(RunFolderError, match=r"weights of trial 3 \(weights/3\.safetensors\) are gone"):
        evaluator.finish([FinishRequest(3, request.policy, None)])
    with pytest.raises(RunFolderError, match=r"7\.safetensors cannot be used"):
        evaluator.finish([FinishRequest(7, request.policy, str(tmp_path / "7.safetensors"))])
    assert evaluator.rebuild(Policy.dense(evaluator.graph), None) is not None


def test_weights_are_on_disk_before_their_evaluation_is_told(evaluator, tmp_path, monkeypatch):
    synced, fsync = [], os.fsync

    def noted(descriptor):
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc")
    monkeypatch.setattr(os, "fsync", noted)
    evaluator.evaluate(_request(evaluator, tmp_path / "3.safetensors", samples=0))
    assert [path.endswith((".tmp", str(tmp_path))) for path in synced] == [True, True]
    assert synced[-1] == str(tmp_path)


def test_torn_weights_are_refused(evaluator, tmp_path):
    request = _request(evaluator, tmp_path / "3.safetensors", samples=0)
    evaluator.evaluate(request)
    whole = (tmp_path / "3.safetensors").read_bytes()
    (tmp_path / "3.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunFolderError, match=r"3\.safetensors cannot be used"):
        evaluator.rebuild(request.policy, request.weights_path)


def test_it_travels_to_another_process(evaluator):
    copied = pickle.loads(cloudpickle.dumps(evaluator))
    request = _request(evaluator, samples=0)
    assert copied.evaluate(request).metrics["accuracy"] == evaluator.evaluate(request).metrics["accuracy"]


def test_sensitivity_prunes_each_group_alone(evaluator):
    found = sensitivity(evaluator, sparsity=0.75, samples=100)
    assert [(s.group, s.of) for s in found] == [("0", 16), ("3", 16)]
    for entry in found:
        assert entry.kept == 8  # this device's channel multiple
        assert math.isclose(
            entry.accuracy + entry.drop,
            score(evaluator.dense_model, evaluator.task, evaluator.task.validation, limit=100),
        )


def test_an_int8_policy_is_worth_what_its_file_is_worth(evaluator, stripes_task, tmp_path):
    policy = dataclasses.replace(Policy.uniform(evaluator.graph, 0.5), precision="int8")
    request = EvaluationRequest(3, policy, 1_000, seed=5, weights_path=str(tmp_path / "3.safetensors"))
    found = evaluator.evaluate(request)
    dense, finished = evaluator.finish([FinishRequest(3, policy, request.weights_path)])
    file = quantise(evaluator.rebuild(policy, request.weights_path), stripes_task)
    assert finished.int8_sha256 == digest(file)
    assert dense.int8_sha256 is None
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for name, (x, y) in (("accuracy", stripes_task.validation), ("test_accuracy", stripes_task.test)):
        right = [session.run(None, {"input": x[i : i + 1].numpy()})[0].argmax() == int(y[i]) for i in range(len(x))]
        assert finished.metrics[name] == pytest.approx(sum(right) / len(right), abs=1e-9)
    assert found.metrics["accuracy"] == finished.metrics["accuracy"]
    weights, vectors = 8 * 9 + 8 * 8 * 9 + 8 * 2, 8 + 16 + 8 + 16 + 2
    assert found.metrics["size_bytes"] == weights + 4 * (8 + 8 + 2) + 4 * vectors
    assert found.metrics["peak_memory_bytes"] == 2 * 8 * 64  # at one byte each
    assert {layer.kind for layer in finished.layers} >= {"conv", "linear"}
    assert evaluator.cost(policy).metrics["size_bytes"] == found.metrics["size_bytes"]
