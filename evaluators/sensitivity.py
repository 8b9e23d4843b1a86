"""How much of the score each group costs when it alone is pruned.

As in Han et al., "Learning both Weights and Connections for Efficient Neural Networks", NeurIPS 2015, arXiv:1506.02626,
with BatchNorm recalibrated instead of no correction at all.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..spaces.policy import Policy
from .task.task_measure import measure_of
from .task_evaluator import TaskEvaluator
from .training.fidelity import PROBE_SAMPLES
from .training.scoring import score


@dataclass(frozen=True)
class Sensitivity:
    """The score with one group pruned, before any fine-tuning."""

    group: str
    kept: int
    of: int
    accuracy: float
    """The score, whatever the task's metric."""
    drop: float
    """By how much it is worse than the dense network's on the same samples."""
    samples: int
    """At most so many validation samples were looked at."""


def sensitivity(
    evaluator: TaskEvaluator, *, sparsity: float = 0.5, criterion: str = "l2", samples: int = PROBE_SAMPLES
) -> tuple[Sensitivity, ...]:
    """Prune each group alone, recalibrate BatchNorm and validate.

    Args:
        evaluator: of the task; its rankings must hold ``criterion``.
        sparsity: of the group, in [0, 1), moved to the nearest width that the device's channel multiple allows.
        criterion: how channels are ranked.
        samples: at most so many validation samples are looked at.

    Returns:
        One entry for each group, in the order of the graph.
    """
    task, graph = evaluator.task, evaluator.graph
    measure = measure_of(task)
    multiple = evaluator.cost_model.alignment("fp32")
    base = score(evaluator.dense_model, task, task.validation, limit=samples)
    found = []
    for group in graph.groups:
        kept = group.width_near(sparsity, multiple)
        model = evaluator.recalibrated(Policy.from_kept(graph, {group.name: kept}, criterion=criterion))
        accuracy = score(model, task, task.validation, limit=samples)
        found.append(Sensitivity(group.name, kept, group.channels, accuracy, measure.loss(accuracy, base), samples))
    return tuple(found)
