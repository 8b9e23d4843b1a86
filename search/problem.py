"""What is searched: a task on a device, made ready once in the coordinator and rebuilt in each worker."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ..errors import InputError, describe
from ..evaluators.evaluation import Evaluation
from ..evaluators.hardware.cost import deployed_precision
from ..evaluators.hardware.device import Device, load_device
from ..evaluators.hardware.device_fingerprint import device_fingerprint, earlier_fingerprints
from ..evaluators.objectives import Constraint, objective
from ..evaluators.onnx.export_check import check_export
from ..evaluators.onnx.int8_notice import int8_notice
from ..evaluators.request import EvaluationRequest, FinishedNetwork, FinishRequest
from ..evaluators.task.example_inputs import example_inputs
from ..evaluators.task.measure import ACCURACY, Measure
from ..evaluators.task.ranking_samples import ranking_samples
from ..evaluators.task.task import Task
from ..evaluators.task.task_checks import check_task, data_fingerprint
from ..evaluators.task.task_loading import load_task
from ..evaluators.task.task_measure import measure_of
from ..evaluators.task_evaluator import TaskEvaluator
from ..evaluators.training.fidelity import default_samples
from ..evaluators.training.training_recipe import training_recipe
from ..spaces.graph.fingerprint import weights_digest
from ..spaces.graph.groups import Graph
from ..spaces.graph.trace import trace
from ..spaces.importance.criteria import CRITERIA
from ..spaces.importance.rankings import Rankings, rank
from ..spaces.policy import Policy
from ..spaces.pruning_types import PRUNING_TYPES
from ..spaces.search_space import SearchSpace
from .cost_filter import CostFilter, make_cost_filter
from .direction import doubt_direction
from .given_policies import given_policies
from .options import SearchOptions


class SearchEvaluator(Protocol):
    """What a coordinator asks of an evaluator; its workers only ask it to evaluate."""

    def evaluate(self, request: EvaluationRequest) -> Evaluation:
        """Return what the request's policy is worth."""
        ...

    def dense(self) -> Evaluation:
        """Return what the network is worth as it was brought."""
        ...

    def cost(self, policy: Policy) -> Evaluation:
        """Return what a policy costs, without training it: metrics hold no accuracy."""
        ...

    def probe(self, policies: Sequence[Policy]) -> tuple[Evaluation, ...]:
        """Return what policies cost, told together, and their ``loss`` on validation data before any training."""
        ...

    def trained_loss(self, policy: Policy, samples: int) -> float:
        """Return the loss of a policy on validation data after so many samples of training, from the dense weights."""
        ...

    def time_training(self, batches: int) -> int:
        """Train a copy of the network for so many batches, to be timed, and return the samples that were in them."""
        ...

    def finish(self, members: Sequence[FinishRequest]) -> tuple[FinishedNetwork, ...]:
        """Return the final numbers of the dense network, first, and of every member."""
        ...


@dataclass(frozen=True)
class SearchProblem:
    """A task on a device, ready to be searched."""

    task_name: str
    task_reference: str | None
    device_name: str
    space: SearchSpace
    factory: Callable[[], SearchEvaluator]
    """Builds an evaluator in the process that calls it; picklable by cloudpickle."""
    samples: int
    """Fidelity: training samples that each candidate is fine-tuned on."""
    fingerprints: Mapping[str, str]
    """Digests of what must not change while a run goes on, by what they are of; ``model`` and ``data`` among them."""
    rankings: Rankings | None
    """By which channels are kept; without them nothing is inherited, and there is no path."""
    limits: tuple[Constraint, ...] = ()
    """What the device itself demands."""
    given: tuple[Policy, ...] = ()
    """The user's own starting points."""
    cost_filter: Callable[[Path, tuple[Constraint, ...], Callable[[str], None]], CostFilter | None] | None = None
    """Makes what tells costs before training, from the run's folder and constraints, and says how well it does."""
    notice: Callable[[], str | None] | None = None
    """Finds out what is to be said, in one sentence, of int8 on this processor."""
    notes: tuple[str, ...] = ()
    """What a user should know of the task before its search."""
    measure: Measure = ACCURACY
    """What the score is."""
    training: Mapping[str, Any] | None = None
    """What the built-in loop fine-tunes with; ``None`` where the task brings a loop of its own."""
    training_note: str = ""
    """The same in a sentence."""
    earlier_fingerprints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By which digests earlier versions knew the same, by what they are of."""
    doubt: str | None = None
    """Why the metric's direction may be wrong; ``None`` where it seems right, or a search goes on."""

    def fingerprints_like(self, stored: Mapping[str, str]) -> dict[str, str]:
        """Return the fingerprints, written as the run ``stored`` wrote them where that says the same."""
        same = {what: stored[what] for what, known in self.earlier_fingerprints.items() if stored.get(what) in known}
        return {**self.fingerprints, **same}


def prepare(task: str | Task, options: SearchOptions, *, rankings: Rankings | None = None) -> SearchProblem:
    """Load, check, trace and rank what ``options`` say.

    Args:
        task: what loads it, or the task itself.
        options: of the search.
        rankings: of an earlier search of the same run; ranked anew where there are none.

    Raises:
        InputError: task, device, precisions, types or criteria cannot be used, or nothing of the network can be pruned.
    """
    for criterion in options.criteria:
        CRITERIA.get(criterion)
    device = load_device(options.device)
    for precision in options.precision:
        deployed_precision(device, precision)
    data = None if options.data is None else Path(options.data)
    found = load_task(task, data=data) if isinstance(task, str) else task
    notes = check_task(found)
    model = found.model().eval()
    if options.export_check:
        check_export(model, found)
    graph = trace(model, example_inputs(found), freeze=found.freeze)
    int8 = "int8" in options.precision
    space = SearchSpace(
        graph,
        types=options.types,
        criteria=options.criteria,
        precisions=options.precision,
        channel_multiple=math.lcm(*(device.alignment(precision) for precision in options.precision)),
    )
    _check_prunable(space)
    given = given_policies(options.start, space)
    recipe = training_recipe(model, found) if found.fine_tune is None else None
    ranked = _rank(model, graph, found, options) if rankings is None else rankings
    return SearchProblem(
        task_name=found.name,
        task_reference=found.reference,
        device_name=device.name,
        space=space,
        factory=partial(
            build_evaluator, found.reference or found, data, graph, ranked, device, options.threads_per_worker
        ),
        samples=default_samples(found) if options.samples is None else options.samples,
        fingerprints={
            "model": graph.fingerprint,
            "weights": weights_digest(model),
            "data": data_fingerprint(found),
            "device": device_fingerprint(device, options.precision),
        },
        earlier_fingerprints={"device": earlier_fingerprints(device, options.precision)},
        rankings=ranked,
        limits=_limits(device, options.types),
        given=given,
        cost_filter=partial(make_cost_filter, found, graph, device, options),
        notice=partial(int8_notice, model, found, device, threads=options.threads_per_worker) if int8 else None,
        notes=notes,
        measure=measure_of(found),
        training=None if recipe is None else recipe.to_dict(),
        doubt=None if rankings is not None else doubt_direction(model, found, space, ranked, measure_of(found)),
        training_note="" if recipe is None else recipe.note,
    )


def build_evaluator(
    task: str | Task, data: Path | None, graph: Graph, rankings: Rankings, device: Device, threads: int
) -> SearchEvaluator:
    """Return an evaluator; a task that has a reference is loaded anew, as its module may exist in no other process."""
    found = load_task(task, data=data) if isinstance(task, str) else task
    return TaskEvaluator(found, graph, rankings, device, threads)


def _rank(model: Any, graph: Graph, task: Task, options: SearchOptions) -> Rankings:
    samples = ranking_samples(task, seed=options.seed)
    return rank(model, graph, options.criteria, samples=samples, seed=options.seed)


def _check_prunable(space: SearchSpace) -> None:
    if space.size > 1:
        return
    reasons = "; ".join(f"{f.name}: {f.reason}" for f in space.graph.frozen[:3]) or "no group is wide enough"
    raise InputError(
        describe(
            f"nothing can be pruned ({reasons})",
            expected="at least one group with more than one width",
            remedy="Run `espalier inspect` on the task, and see `freeze` and the device's channel_multiple.",
        )
    )


def _limits(device: Device, types: Sequence[str]) -> tuple[Constraint, ...]:
    # A runtime without kernels for zeros holds them in flash like any other number.
    unread = any(PRUNING_TYPES.get(name).zeroes and not device.kernels_for(name) for name in types)
    size = "dense_size_bytes" if unread else "size_bytes"
    room = device.room()
    limits = {size: room.flash_bytes, "peak_memory_bytes": room.ram_bytes}
    return tuple(Constraint(objective(name), "<=", q.value) for name, q in limits.items() if q is not None)
