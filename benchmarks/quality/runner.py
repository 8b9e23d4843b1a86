"""One run: a method on a task with a seed and a budget, then its final scores."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from espalier import Task
from espalier.evaluators.counting import count_macs
from espalier.evaluators.training.scoring import score
from espalier.jsonfile import write_json

from .base import METHODS, Candidate, is_ours
from .budget import GRACE, Budget, BudgetSpentError
from .cutting import Cutter
from .fronts import FRACTIONS, Scored, accuracy_at, front, test_hypervolume, timeline
from .latency import measured_ms
from .results import Job
from .setting import Setting
from .tasks import image_of

PACKAGES = ("espalier", "torch", "torch-pruning", "optuna", "onnxruntime")


def run(job: Job, task: Task) -> dict[str, Any]:
    """Run one job, write its result and return it."""
    torch.set_num_threads(1)
    dense = task.model().eval()
    budget = Budget(job.budget)
    found: list[tuple[float, Candidate]] = []
    try:
        for candidate in METHODS.get(job.method).search(Setting(task, dense, job.seed, budget)):
            with budget.paused():
                seconds = budget.used if candidate.seconds is None else candidate.seconds
                if seconds <= job.budget * (1 + GRACE):
                    found.append((seconds, candidate))
                print(f"  {seconds:7.1f} s  {candidate.label}", file=sys.stderr)
    except BudgetSpentError as end:
        print(f"  {end}", file=sys.stderr)
    result = {**_about(job, task, dense), "seconds_used": round(budget.used, 2), **_scores(task, dense, found)}
    job.path.parent.mkdir(parents=True, exist_ok=True)
    write_json(job.path, result)
    return result


def _about(job: Job, task: Task, dense: torch.nn.Module) -> dict[str, Any]:
    scope = None if is_ours(job.method) else Cutter.of(dense, image_of(task)).scope
    return {
        "version": 1,
        "task": job.task,
        "method": job.method,
        "description": METHODS.get(job.method).description,
        "prunes": scope or "what Espalier finds",
        "seed": job.seed,
        "budget": job.budget,
        "versions": {name: _version(name) for name in PACKAGES},
        "machine": platform.machine(),
    }


def _scores(task: Task, dense: torch.nn.Module, found: Sequence[tuple[float, Candidate]]) -> dict[str, Any]:
    """Return all final numbers. Test data are read here alone, once for each network."""
    networks = [dense, *(candidate.network for _, candidate in found)]
    latencies = measured_ms(networks, image_of(task))
    dense_test = score(dense, task, task.test)
    scored = [
        Scored(
            round(seconds, 3),
            score(candidate.network, task, task.validation),
            score(candidate.network, task, task.test),
            latency / latencies[0],
        )
        for (seconds, candidate), latency in zip(found, latencies[1:], strict=True)
    ]
    members = front(scored)
    return {
        "dense": {
            "validation": score(dense, task, task.validation),
            "test": dense_test,
            "latency_ms": latencies[0],
            "macs": count_macs(dense, task.example_input),
        },
        "hypervolume": test_hypervolume(scored, dense_test),
        "accuracy_at": {str(fraction): accuracy_at(scored, fraction) for fraction in FRACTIONS},
        "timeline": [list(point) for point in timeline(scored, dense_test)],
        "candidates": [
            {
                **vars(each),
                "label": candidate.label,
                "samples": candidate.samples,
                "macs": count_macs(candidate.network, task.example_input),
                "front": each in members,
            }
            for each, (_, candidate) in zip(scored, found, strict=True)
        ],
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
