"""What a policy is worth on a task: prune, recalibrate, fine-tune, validate, and ask what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from ..errors import EspalierError, EvaluationError, RunFolderError, describe, text_of
from ..spaces.apply import prune
from ..spaces.graph.groups import Graph
from ..spaces.importance.rankings import Rankings
from ..spaces.importance.statistics import gather
from ..spaces.inheritance import with_inherited
from ..spaces.inputs import channels_last, network_channels_last
from ..spaces.masks import masks_of, needs_squared_gradients
from ..spaces.policy import Policy
from .evaluation import Evaluation
from .hardware.base import Cost, CostModel
from .hardware.cost import deployed_precision
from .hardware.device import Device
from .hardware.estimate import candidate_cost_model_for, cost_model_for
from .onnx.onnx_network import Deployed, deploy
from .onnx.output_check import OutputCheck
from .onnx.quantisation import digest
from .request import Ancestor, EvaluationRequest, FinishedNetwork, FinishRequest
from .sparse_size import with_sparse_size
from .task.data import as_network_input, batches, several
from .task.ranking_samples import ranking_samples
from .task.task import Task
from .training.batch_norm import recalibrate
from .training.fidelity import PROBE_SAMPLES, RECALIBRATION_SAMPLES
from .training.fine_tune import fine_tune
from .training.mixed_precision import MixedPrecision
from .training.scored_network import ScoredNetworks
from .training.scoring import score, validation_loss
from .training.step_clock import StepClock
from .weights_file import load_weights, read_weights, save_weights


@dataclass
class TaskEvaluator:
    """Evaluates policies on one task and device. Built once in each process; picklable until first used.

    Args:
        task: the trained network, its data, loss and metric.
        graph: its trace.
        rankings: of every criterion that the policies use.
        device: what costs are asked for.
        threads: how many threads training and measuring may use.
    """

    task: Task
    graph: Graph
    rankings: Rankings
    device: Device
    threads: int = 1
    _dense: nn.Module | None = field(default=None, init=False, repr=False)
    _cost_model: CostModel | None = field(default=None, init=False, repr=False)
    _candidate_cost_model: CostModel | None = field(default=None, init=False, repr=False)
    _dense_evaluation: Evaluation | None = field(default=None, init=False, repr=False)
    _squared_gradients: Mapping[str, torch.Tensor] | None = field(default=None, init=False, repr=False)

    @property
    def dense_model(self) -> nn.Module:
        """The network as it was brought; callers must not change it."""
        if self._dense is None:
            self._dense = self.task.model().eval()
        return self._dense

    @property
    def cost_model(self) -> CostModel:
        """Tells what networks cost on the device."""
        if self._cost_model is None:
            self._cost_model = cost_model_for(self.device, threads=self.threads)
        return self._cost_model

    @cached_property
    def scored(self) -> ScoredNetworks:
        """Makes what candidates' accuracies are taken of."""
        return ScoredNetworks(self.task, self.threads, self.device.quantisation_scheme)

    @cached_property
    def output_check(self) -> OutputCheck:
        """Compares the form of networks' outputs with the dense network's."""
        return OutputCheck.of(self.dense_model, self.task)

    @property
    def candidate_cost_model(self) -> CostModel:
        """Tells what a search's candidates cost: a compiler's stand-in, where the front alone is compiled."""
        if self._candidate_cost_model is None:
            self._candidate_cost_model = candidate_cost_model_for(self.device, threads=self.threads)
        return self._candidate_cost_model

    def evaluate(self, request: EvaluationRequest) -> Evaluation:
        """Return what the request's policy is worth, after writing its weights where the request says.

        Raises:
            EvaluationError: this candidate diverged, ran out of memory or could not be built.
        """
        try:
            return self._evaluate(request)
        except EspalierError:
            raise
        except (RuntimeError, MemoryError, ArithmeticError, ValueError) as error:
            raise EvaluationError(f"trial {request.trial}: {type(error).__name__}: {text_of(error)}") from error

    def _evaluate(self, request: EvaluationRequest) -> Evaluation:
        if request.samples == 0 and request.policy == Policy.dense(self.graph):
            return self._as_brought(request)
        clock = StepClock()
        generator = torch.Generator().manual_seed(request.seed)
        with clock.step("prune"):
            model = self.recalibrated(request.policy, request.ancestor)
        with clock.step("validate"):
            self.output_check.refuse(model, f"trial {request.trial}: the pruned network")
            recalibrated = self._probed(model, request) if request.samples else None
        with clock.step("train"):
            masks = masks_of(model, self.graph, request.policy)
            model = fine_tune(model, self.task, request.samples, generator, masks=masks)
        with clock.step("cost"):
            scored = self.scored.of(model, request.policy.precision)
            cost = self._cost(model, request.policy, self._file(scored, request.policy))
        with clock.step("validate"):
            scores = self._scores(scored.network)
            recalibrated = scores["accuracy"] if recalibrated is None else recalibrated
        if request.weights_path is not None:
            save_weights(model, Path(request.weights_path))
        metrics = {**scores, "accuracy_recalibrated": recalibrated, **cost_metrics(cost)}
        ancestor = request.ancestor
        return Evaluation(
            metrics,
            cost.source,
            cost.latency_error,
            request.samples,
            clock.seconds,
            inherited_samples=0 if ancestor is None else ancestor.samples,
            ancestor=None if ancestor is None else ancestor.trial,
        )

    def _probed(self, model: nn.Module, request: EvaluationRequest) -> float:
        probe = self.deployed(model, request.policy.precision).network
        return score(probe, self.task, self.task.validation, limit=PROBE_SAMPLES)

    def _as_brought(self, request: EvaluationRequest) -> Evaluation:
        if request.weights_path is not None:
            save_weights(self.dense_model, Path(request.weights_path))
        return self.dense()

    def dense(self) -> Evaluation:
        """Return what the network is worth as it was brought; looked at once."""
        if self._dense_evaluation is None:
            self._dense_evaluation = self._looked_at()
        return self._dense_evaluation

    def _looked_at(self) -> Evaluation:
        policy = Policy.dense(self.graph)
        scored = self.scored.of(self.dense_model, policy.precision)
        scores = self._scores(scored.network)
        cost = self._cost(self.dense_model, policy, self._file(scored, policy))
        metrics = {**scores, "accuracy_recalibrated": scores["accuracy"], **cost_metrics(cost)}
        return Evaluation(metrics, cost.source, cost.latency_error, 0)

    def cost(self, policy: Policy) -> Evaluation:
        """Return what a policy costs, without training it: metrics hold no score."""
        model = self.pruned(policy)
        found = self._cost(model, policy, self.deployed(model, policy.precision).onnx)
        return Evaluation(cost_metrics(found), found.source, found.latency_error, 0)

    def probe(self, policies: Sequence[Policy]) -> tuple[Evaluation, ...]:
        """Return what policies cost, told together, and their ``loss`` on validation data before any training.

        All at fp32; a device that runs int8 alone tells what they cost deployed.
        """
        models = [self.recalibrated(policy) for policy in policies]
        losses = [self._loss(model) for model in models]
        costs = self.cost_model.estimate_together(models, self.task.example_input, precisions=["fp32"] * len(models))
        return tuple(
            Evaluation({**cost_metrics(cost), "loss": loss}, cost.source, cost.latency_error, 0)
            for cost, loss in zip(costs, losses, strict=True)
        )

    def trained_loss(self, policy: Policy, samples: int) -> float:
        """Return the loss of a policy on validation data after so many samples of training, from the dense weights.

        Raises:
            EvaluationError: the training diverged.
        """
        model = fine_tune(self.pruned(policy), self.task, samples, torch.Generator().manual_seed(0))
        return self._loss(model)

    def _loss(self, model: nn.Module) -> float:
        return validation_loss(model, self.task, limit=PROBE_SAMPLES, forward=MixedPrecision(model))

    def time_training(self, batches: int) -> int:
        """Train a copy of the network for so many batches, to be timed, and return the samples that were in them."""
        samples = batches * self.task.batch_size
        fine_tune(self.pruned(Policy.dense(self.graph)), self.task, samples, torch.Generator().manual_seed(0))
        return samples

    def deployed(self, model: nn.Module, precision: str) -> Deployed:
        """Return ``model`` as it runs at a precision: at int8 as the very ONNX file that an export writes.

        Raises:
            EvaluationError: it cannot be quantised.
        """
        scheme = self.device.quantisation_scheme
        return deploy(model, self.task, precision, threads=self.threads, scheme=scheme)

    def pruned(self, policy: Policy, ancestor: Ancestor | None = None) -> nn.Module:
        """Return the pruned network with the dense network's weights, or with those of a fine-tuned ancestor."""
        squares = self._squares() if needs_squared_gradients(policy) else None
        whole = self.dense_model if ancestor is None else self._inherited(ancestor)
        model = prune(whole, self.graph, policy, rankings=self.rankings, squared_gradients=squares)
        return network_channels_last(model)

    def _inherited(self, ancestor: Ancestor) -> nn.Module:
        weights = read_weights(Path(ancestor.weights_path))
        return with_inherited(self.dense_model, self.graph, ancestor.policy, weights, rankings=self.rankings)

    def _squares(self) -> Mapping[str, torch.Tensor]:
        # Computed in each process that needs them, from the same samples: as large as the network, they are not sent.
        if self._squared_gradients is None:
            found = gather(self.dense_model, {"squared_gradients"}, ranking_samples(self.task))
            self._squared_gradients = found.squared_gradients
        return self._squared_gradients

    def recalibrated(self, policy: Policy, ancestor: Ancestor | None = None) -> nn.Module:
        """Return the pruned network, with BatchNorm statistics of its own, before it is trained any further."""
        model = self.pruned(policy, ancestor)
        walk = batches(self.task.train, name="train", task=self.task).walk(
            self.task.batch_size, generator=torch.Generator().manual_seed(0), limit=RECALIBRATION_SAMPLES
        )
        samples = (channels_last(as_network_input(inputs, self.task.example_input)) for inputs, _ in several(walk))
        recalibrate(model, samples, forward=MixedPrecision(model))
        return model

    def rebuild(self, policy: Policy, weights_path: str | None, *, trial: int | None = None) -> nn.Module:
        """Return the pruned network with its fine-tuned weights; nothing of the network as it was brought needs any.

        Raises:
            RunFolderError: the weights are absent, torn or of another network.
        """
        model = self.pruned(policy)
        if weights_path is None and policy != Policy.dense(self.graph):
            raise RunFolderError(
                describe(
                    f"the weights of trial {trial} (weights/{trial}.safetensors) are gone",
                    expected="the weights of every member of the front, as its final numbers are of them",
                    remedy="Restore the file from a copy, or search again in a new folder.",
                )
            )
        if weights_path is not None:
            load_weights(model, Path(weights_path))
        return model.eval()

    def finish(self, members: Sequence[FinishRequest]) -> tuple[FinishedNetwork, ...]:
        """Return the final numbers of the dense network, first, and of every member.

        The test score is read here and nowhere else. Where the device can be reached, all networks are measured anew
        in turns, so that a drift of the machine meets all alike.
        """
        models = [self.dense_model, *(self.rebuild(m.policy, m.weights_path, trial=m.trial) for m in members)]
        for model, member in zip(models[1:], members, strict=True):
            self.output_check.refuse(model, f"trial {member.trial}: the pruned network")
        policies = [Policy.dense(self.graph), *(m.policy for m in members)]
        precisions = [policy.precision for policy in policies]
        networks = [self.deployed(m, precision) for m, precision in zip(models, precisions, strict=True)]
        files = [network.onnx for network in networks]
        told = self.cost_model.estimate_together(models, self.task.example_input, precisions=precisions, onnx=files)
        masks = [masks_of(model, self.graph, policy) for model, policy in zip(models, policies, strict=True)]
        costs = [with_sparse_size(cost, each) for cost, each in zip(told, masks, strict=True)]
        trials: list[int | None] = [None, *(m.trial for m in members)]
        return tuple(
            self._finished(trial, network, cost, precision)
            for trial, network, cost, precision in zip(trials, networks, costs, precisions, strict=True)
        )

    def _finished(self, trial: int | None, found: Deployed, cost: Cost, precision: str) -> FinishedNetwork:
        metrics: dict[str, float | None] = {
            "accuracy": score(found.network, self.task, self.task.validation),
            "test_accuracy": None,
        }
        if self.task.test is not None:
            metrics["test_accuracy"] = score(found.network, self.task, self.task.test)
        layers = self.cost_model.profile(found.model, self.task.example_input, precision=precision, onnx=found.onnx)
        metrics |= cost_metrics(cost)
        file = None if found.onnx is None else digest(found.onnx)
        return FinishedNetwork(trial, Evaluation(metrics, cost.source, cost.latency_error), layers, file)

    def _file(self, scored: Deployed, policy: Policy) -> bytes | None:
        """Return the file that was scored, if it is the one that runs on the device: some run int8 alone."""
        same = policy.precision == deployed_precision(self.device, policy.precision)
        return scored.onnx if same else None

    def _cost(self, model: nn.Module, policy: Policy, onnx: bytes | None = None) -> Cost:
        costs = self.candidate_cost_model
        cost = costs.estimate(model, self.task.example_input, precision=policy.precision, onnx=onnx)
        return with_sparse_size(cost, masks_of(model, self.graph, policy))

    def _scores(self, model: nn.Module) -> dict[str, float | None]:
        accuracy = score(model, self.task, self.task.validation)
        return {"accuracy": accuracy, "train_accuracy": score(model, self.task, self.task.train, limit=PROBE_SAMPLES)}


def cost_metrics(cost: Cost) -> dict[str, float | None]:
    """Return a cost as the metrics of ``front.json``."""
    return {
        "latency_ms": cost.latency_ms,
        "size_bytes": cost.size_bytes,
        "dense_size_bytes": cost.size_bytes if cost.dense_size_bytes is None else cost.dense_size_bytes,
        "macs": cost.macs,
        "params": cost.params,
        "peak_memory_bytes": cost.peak_memory_bytes,
        "energy_mj": cost.energy_mj,
    }
