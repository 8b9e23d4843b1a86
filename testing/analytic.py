"""An evaluator whose answers are formulas: for tests of searches that need no network, and for measuring overhead.

It is a second implementation of what a search asks of an evaluator: real policies over a real graph, costs that fall
with every channel removed, an accuracy that falls faster for some groups than for others.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import EvaluationError
from ..evaluators.evaluation import Evaluation
from ..evaluators.objectives import Constraint
from ..evaluators.request import EvaluationRequest, FinishedNetwork, FinishRequest
from ..jsonfile import write_text
from ..search.problem import SearchProblem
from ..spaces.graph.groups import Graph, Group
from ..spaces.policy import Policy
from ..spaces.search_space import SearchSpace

DENSE_ACCURACY = 0.95


@dataclass(frozen=True)
class AnalyticEvaluator:
    """Says what a policy is worth from its kept channels alone.

    Args:
        graph: of groups, as :func:`analytic_graph` makes.
        seconds: how long each evaluation takes.
        diverging: sparsity of the first group from which on a candidate diverges to NaN.
        failing: sparsity of the first group from which on a candidate raises.
    """

    graph: Graph
    seconds: float = 0.0
    diverging: float = 2.0
    failing: float = 2.0

    def evaluate(self, request: EvaluationRequest) -> Evaluation:
        """Return the policy's worth; its weights are its key as text."""
        if self.seconds:
            time.sleep(self.seconds)
        first = request.policy.choices[self.graph.groups[0].name].sparsity
        if first >= self.failing:
            raise EvaluationError(f"trial {request.trial}: too sparse")
        accuracy = float("nan") if first >= self.diverging else self.accuracy(request.policy)
        if request.weights_path is not None:
            write_text(Path(request.weights_path), repr(request.policy.key))
        metrics = {"accuracy": accuracy, "train_accuracy": accuracy, **self._costs(request.policy)}
        return Evaluation(metrics, "roofline", 0.1, request.samples, {"train": self.seconds})

    def dense(self) -> Evaluation:
        """Return what the policy that removes nothing is worth."""
        policy = Policy.dense(self.graph)
        return Evaluation({"accuracy": DENSE_ACCURACY, **self._costs(policy)}, "roofline", 0.1, 0)

    def cost(self, policy: Policy) -> Evaluation:
        """Return the costs alone."""
        return Evaluation(self._costs(policy), "roofline", 0.1, 0)

    def probe(self, policies: Sequence[Policy]) -> tuple[Evaluation, ...]:
        """Return the costs, and a loss that is the accuracy's negative."""
        return tuple(Evaluation({**self._costs(p), "loss": -self.accuracy(p)}, "roofline", 0.1, 0) for p in policies)

    def trained_loss(self, policy: Policy, samples: int) -> float:
        """Return the accuracy's negative: training mends nothing here."""
        return -self.accuracy(policy)

    def time_training(self, batches: int) -> int:
        """Return the samples of as many batches of one."""
        return batches

    def finish(self, members: Sequence[FinishRequest]) -> tuple[FinishedNetwork, ...]:
        """Return the same numbers again, with a test accuracy one point lower."""
        entries: list[tuple[int | None, Policy]] = [(None, Policy.dense(self.graph))]
        entries += [(member.trial, member.policy) for member in members]
        return tuple(self._finished(trial, policy) for trial, policy in entries)

    def _finished(self, trial: int | None, policy: Policy) -> FinishedNetwork:
        accuracy = self.accuracy(policy)
        metrics = {"accuracy": accuracy, "test_accuracy": accuracy - 0.01, **self._costs(policy)}
        return FinishedNetwork(trial, Evaluation(metrics, "roofline", 0.1))

    def accuracy(self, policy: Policy) -> float:
        """Return the accuracy of a policy, however long it was trained."""
        losses = [(1 + i) * policy.choices[g.name].sparsity ** 2 for i, g in enumerate(self.graph.groups)]
        count = len(self.graph.groups)
        return DENSE_ACCURACY - 0.6 * sum(losses) / (count * (count + 1) / 2)

    def _costs(self, policy: Policy) -> dict[str, float | None]:
        kept = [policy.choices[g.name].kept for g in self.graph.groups]
        macs = sum(a * b for a, b in zip([3, *kept], kept, strict=False))
        params = sum(kept)
        return {
            "latency_ms": macs / 1e4 + 0.01,
            "size_bytes": 4 * params,
            "macs": macs,
            "params": params,
            "peak_memory_bytes": 64 * max(kept),
            "energy_mj": None,
        }


def analytic_graph(*channels: int) -> Graph:
    """Return a graph of independent groups with so many ``channels`` each."""
    groups = (Group(f"layer{i}", c, (), "exact", i) for i, c in enumerate(channels))
    return Graph(tuple(groups), (), "analytic-" + "-".join(map(str, channels)))


def analytic_problem(
    *channels: int,
    seconds: float = 0.0,
    diverging: float = 2.0,
    failing: float = 2.0,
    data: str = "analytic",
    limits: tuple[Constraint, ...] = (),
) -> SearchProblem:
    """Return a problem to search over groups of so many ``channels``."""
    graph = analytic_graph(*channels)
    return SearchProblem(
        task_name="analytic",
        task_reference=None,
        device_name="formulas",
        space=SearchSpace(graph),
        factory=partial(AnalyticEvaluator, graph, seconds, diverging, failing),
        samples=100,
        fingerprints={"model": graph.fingerprint, "data": data},
        rankings=None,
        limits=limits,
    )
