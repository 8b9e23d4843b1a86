"""What a run is, found out as it begins: its dense network, its constraints and what must not change later."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from ..evaluators.evaluation import Evaluation
from ..evaluators.hardware.device import load_device
from ..evaluators.hardware.instruction_set import instruction_set
from ..evaluators.onnx.quantisation import Recipe
from ..evaluators.task.measure import measured
from .attainable import check_constraints, check_objectives
from .options import SearchOptions
from .problem import SearchEvaluator, SearchProblem
from .run_folder.run_info import GraphSummary, RunInfo, installed_versions


def new_info(problem: SearchProblem, options: SearchOptions, evaluator: SearchEvaluator) -> RunInfo:
    """Measure the dense network and return what ``run.json`` says of a search that is to begin.

    Raises:
        InputError: an objective is unknown on the device, or a constraint cannot be met.
    """
    dense = evaluator.dense()
    constraints = (*options.parsed_constraints, *problem.limits)
    check_objectives(measured(options.parsed_objectives, problem.measure), dense.metrics, problem.device_name)
    check_constraints(constraints, problem.space, evaluator, dense.metrics)
    return RunInfo(
        task_reference=problem.task_reference,
        task_name=problem.task_name,
        device=problem.device_name,
        options=options,
        constraints=tuple(c.text for c in constraints),
        versions=installed_versions(),
        seed=options.seed,
        samples=problem.samples,
        fingerprints=dict(problem.fingerprints),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        study_name=f"espalier-{problem.task_name}-{uuid4().hex[:8]}",
        dense=_dense_network(dense),
        graph=GraphSummary.of(problem.space.graph),
        quantisation=quantisation_of(options),
        processor=instruction_set().to_dict(),
        metric=problem.measure,
        training=problem.training,
    )


def quantisation_of(options: SearchOptions) -> dict[str, Any] | None:
    """Return how int8 files are made; ``None`` where none are."""
    if "int8" not in options.precision:
        return None
    return Recipe.of(load_device(options.device).quantisation_scheme).to_dict()


def _dense_network(dense: Evaluation) -> Evaluation:
    metrics = {name: None if value is None else float(value) for name, value in dense.metrics.items()}
    return Evaluation(metrics, dense.latency_source, float(dense.latency_error))
