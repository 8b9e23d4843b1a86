"""Formulas that learn, on a clock that only they move: searches by budget that come out alike on every machine.

:class:`~espalier.testing.analytic.AnalyticEvaluator` says the same of a policy however long it is trained, and takes
real time. Here training mends what pruning broke, its weights are handed on, and each evaluation takes so many seconds
of a :class:`FakeClock` as its samples ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..evaluators.cost_prediction import PredictedCost
from ..evaluators.evaluation import Evaluation
from ..evaluators.objectives import Constraint
from ..evaluators.request import EvaluationRequest, FinishedNetwork, FinishRequest
from ..search.cost_filter import CostFilter
from ..search.executors import Completion, ExecutorSettings
from ..search.executors.base import carry_out
from ..search.problem import SearchProblem
from ..spaces.graph.groups import Branch, Graph
from ..spaces.importance.rankings import Rankings
from ..spaces.policy import Policy
from ..spaces.search_space import SearchSpace
from .analytic import AnalyticEvaluator, analytic_graph

LASTS = 0.4
"""Of what pruning broke, this share no training mends."""
HALF_MENDED_AFTER = 100_000.0
"""Training samples that mend half of the rest."""
OVERHEAD = 0.02
"""Seconds of an evaluation that are no training."""
DENSE_RATE = 100_000.0
"""Samples of the dense network that are trained in a second."""
SAMPLES = 20_000
BATCH = 64


@dataclass
class FakeClock:
    """Seconds that pass when somebody says so."""

    now: float = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclass(frozen=True)
class LearningEvaluator:
    """Says what a policy is worth from its kept channels, its precision and the training that its weights have seen.

    Args:
        graph: of groups.
        clock: moves with every evaluation.
        failing: trials that raise.
    """

    graph: Graph
    clock: FakeClock
    failing: frozenset[int] = field(default=frozenset())

    def evaluate(self, request: EvaluationRequest) -> Evaluation:
        """Return the policy's worth after its training, which takes its time."""
        inherited = 0 if request.ancestor is None else request.ancestor.samples
        training = self._train(request.policy, request.samples)
        self.clock.sleep(OVERHEAD)
        if request.trial in self.failing:
            raise ValueError(f"trial {request.trial} is to fail")
        found = self._formulas.evaluate(request)
        accuracy = self._mended(request.policy, request.samples + inherited)
        return replace(
            found,
            metrics={**found.metrics, "accuracy": accuracy, "train_accuracy": accuracy, **self._costs(request.policy)},
            seconds={"train": training, "validate": OVERHEAD},
            inherited_samples=inherited,
            ancestor=None if request.ancestor is None else request.ancestor.trial,
        )

    def dense(self) -> Evaluation:
        """Return what the policy that removes nothing is worth."""
        return self._formulas.dense()

    def cost(self, policy: Policy) -> Evaluation:
        """Return the costs alone."""
        return Evaluation(self._costs(policy), "roofline", 0.1, 0)

    def probe(self, policies: Sequence[Policy]) -> tuple[Evaluation, ...]:
        """Return costs, and a loss that is the accuracy's negative without any training."""
        self.clock.sleep(0.01 * len(policies))
        return self._formulas.probe(policies)

    def trained_loss(self, policy: Policy, samples: int) -> float:
        """Return the accuracy's negative after so many samples."""
        self._train(policy, samples)
        return -self._mended(policy, samples)

    def time_training(self, batches: int) -> int:
        """Return the samples of so many batches of the dense network, and let their time pass."""
        self._train(Policy.dense(self.graph), batches * BATCH)
        return batches * BATCH

    def finish(self, members: Sequence[FinishRequest]) -> tuple[FinishedNetwork, ...]:
        """Return final numbers."""
        return self._formulas.finish(members)

    @property
    def _formulas(self) -> AnalyticEvaluator:
        return AnalyticEvaluator(self.graph)

    def _mended(self, policy: Policy, samples: int) -> float:
        dense = float(self._formulas.dense().metrics["accuracy"] or 0.0)
        lost = dense - self._formulas.accuracy(policy)
        quantised = 0.002 if policy.precision == "int8" else 0.0
        left = LASTS + (1 - LASTS) * HALF_MENDED_AFTER / (HALF_MENDED_AFTER + samples)
        return dense - lost * left - quantised

    def _costs(self, policy: Policy) -> dict[str, float | None]:
        costs = dict(self._formulas.cost(policy).metrics)
        if policy.precision == "int8":
            costs |= {name: 0.5 * float(costs[name] or 0.0) for name in ("latency_ms", "size_bytes")}
        return costs

    def _train(self, policy: Policy, samples: int) -> float:
        whole = float(self._formulas.cost(Policy.dense(self.graph)).metrics["macs"] or 1.0)
        share = float(self._formulas.cost(policy).metrics["macs"] or 0.0) / whole
        seconds = samples / DENSE_RATE * (0.3 + 0.7 * share)
        self.clock.sleep(seconds)
        return seconds


@dataclass(frozen=True)
class FormulaPredictor:
    """Tells costs before training, exactly, by the formulas that the evaluator uses."""

    evaluator: LearningEvaluator

    @property
    def graph(self) -> Graph:
        """The network's groups."""
        return self.evaluator.graph

    def predict(self, policies: Sequence[Policy]) -> list[PredictedCost]:
        """Return the cost of each policy, with an interval of 5 percent to both sides."""
        return [self._predicted(self.evaluator.cost(policy).metrics) for policy in policies]

    def _predicted(self, metrics: Mapping[str, float | None]) -> PredictedCost:
        latency = float(metrics["latency_ms"] or 0.0)
        macs, params = int(metrics["macs"] or 0), int(metrics["params"] or 0)
        return PredictedCost(latency, 0.95 * latency, 1.05 * latency, macs, params)


class InterleavingExecutor:
    """Carries out requests of several workers in one process, the newest of those under way first."""

    def __init__(self, settings: ExecutorSettings) -> None:
        self._evaluator = settings.factory()
        self._waiting: list[EvaluationRequest] = []

    def submit(self, request: EvaluationRequest) -> None:
        """Queue one request."""
        self._waiting.append(request)

    def next_completed(self, timeout: float | None = None) -> Completion | None:
        """Evaluate the newest request."""
        return carry_out(self._evaluator, self._waiting.pop()) if self._waiting else None

    def close(self, *, abandon: bool = False) -> None:
        """Forget what is queued."""
        self._waiting.clear()


def learning_graph(*channels: int) -> Graph:
    """Return a graph of independent groups of so many ``channels``, the last of them a branch that may be dropped."""
    graph = analytic_graph(*channels)
    last = graph.groups[-1]
    branch = Branch(last.name, graph.groups[-2].name, (), (), False, (last.name,))
    return replace(graph, groups=(*graph.groups[:-1], replace(last, branch=branch)))


def learning_problem(
    *channels: int,
    clock: FakeClock,
    precisions: Sequence[str] = ("fp32",),
    screened: bool = False,
    failing: Iterator[int] | Sequence[int] = (),
    given: Callable[[SearchSpace], Sequence[Policy]] = lambda _: (),
) -> SearchProblem:
    """Return a problem whose networks learn and hand their weights on.

    Args:
        channels: of each group.
        clock: that evaluations move.
        precisions: to search.
        screened: whether costs are told before training.
        failing: trials that raise.
        given: makes policies to try first.
    """
    graph = learning_graph(*channels)
    space = SearchSpace(graph, types=("channel", "block"), precisions=tuple(precisions))
    evaluator = LearningEvaluator(graph, clock, frozenset(failing))

    def cost_filter(folder: Path, constraints: tuple[Constraint, ...], say: Callable[[str], None]) -> CostFilter:
        say("costs are told by formulas")
        return CostFilter(FormulaPredictor(evaluator), constraints, "exact")  # pyright: ignore[reportArgumentType]

    return SearchProblem(
        task_name="learning",
        task_reference=None,
        device_name="formulas",
        space=space,
        factory=lambda: evaluator,
        samples=SAMPLES,
        fingerprints={"model": graph.fingerprint, "data": "formulas"},
        rankings=_rankings(graph),
        given=tuple(given(space)),
        cost_filter=cost_filter if screened else None,
    )


def _rankings(graph: Graph) -> Rankings:
    order = {g.name: tuple(range(g.channels)) for g in graph}
    worth = {g.name: tuple(2.0 - 2.0 * (c + 0.5) / g.channels for c in range(g.channels)) for g in graph}
    return Rankings({"l2": order}, {"l2": worth})
