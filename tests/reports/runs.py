"""Run folders with known numbers, written through search's own functions. Every expected value in the tests is
computed by hand from the numbers below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna

from espalier.evaluators.evaluation import Evaluation
from espalier.evaluators.hardware.base import LayerCost
from espalier.evaluators.request import FinishedNetwork
from espalier.jsonfile import write_json
from espalier.search.options import SearchOptions
from espalier.search.run_folder import (
    FrozenSummary,
    GraphSummary,
    GroupSummary,
    Run,
    RunInfo,
    journal,
    open_run,
    trial_record,
    write_finished,
)
from espalier.search.run_folder.run_info import installed_versions
from espalier.spaces.policy import Choice, Policy

GROUPS = {"stem.conv": 16, "stage1.0.conv1": 16, "stage2.0.conv1": 32, "stage3.0.conv1": 64, "head.hidden": 128}
START = datetime(2026, 3, 1, 9, 0, 0, tzinfo=UTC).timestamp()
KIB = 1024


def metrics(accuracy: float, latency_ms: float, size_kib: float, **more: float | None) -> dict[str, float | None]:
    """Return a full set of metrics; MACs, parameters and memory follow from the size."""
    return {
        "accuracy": accuracy,
        "train_accuracy": accuracy + 0.02,
        "accuracy_recalibrated": accuracy - 0.1,
        "latency_ms": latency_ms,
        "size_bytes": size_kib * KIB,
        "macs": size_kib * 40_000,
        "params": size_kib * 256,
        "peak_memory_bytes": 64 * KIB,
        "energy_mj": None,
        **more,
    }


DENSE = metrics(0.98, 0.40, 300)


@dataclass(frozen=True)
class Trial:
    """One trial to be stored: complete where it has metrics."""

    metrics: Mapping[str, float | None] | None = None
    kept: float = 1.0
    origin: str = "sampler"
    reason: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    samples: int | None = None
    """Trained on; as the run says where there is no number."""


TRIALS = (
    Trial(DENSE, 1.0, "dense"),
    Trial(metrics(0.975, 0.30, 200, accuracy_recalibrated=0.95), 0.75, "uniform 0.25"),
    Trial(metrics(0.965, 0.20, 120, accuracy_recalibrated=0.80), 0.5, "uniform 0.50"),
    Trial(metrics(0.90, 0.10, 60, accuracy_recalibrated=0.60), 0.25, "uniform 0.75"),
    Trial(metrics(0.95, 0.25, 150, accuracy_recalibrated=0.85), 0.6),
    Trial(metrics(0.55, 0.08, 40, accuracy_recalibrated=0.20), 0.125),
    Trial(reason="the loss became NaN after 640 samples"),
    Trial(reason="the loss became NaN after 640 samples"),
    Trial(metrics(0.96, 0.18, 130, accuracy_recalibrated=0.70), 0.45),
)
"""Within accuracy >= 0.8 the front is 0, 1, 2, 3 and 8; 4 is dominated by 2; 5 misses the constraint."""

FINAL = {
    None: metrics(0.98, 0.41, 300, test_accuracy=0.97),
    0: metrics(0.98, 0.41, 300, test_accuracy=0.97),
    1: metrics(0.975, 0.31, 200, test_accuracy=0.965),
    2: metrics(0.965, 0.205, 120, test_accuracy=0.96),
    3: metrics(0.90, 0.11, 60, test_accuracy=0.88),
    8: metrics(0.96, 0.19, 130, test_accuracy=0.95),
}


def policy(kept: float) -> Policy:
    """Return the policy that keeps a fraction of every group."""
    choices = {name: Choice.channel(kept=max(1, int(of * kept)), of=of, criterion="l2") for name, of in GROUPS.items()}
    return Policy("f" * 64, choices)


def write_run(
    folder: Path,
    *,
    trials: Sequence[Trial] = TRIALS,
    final: Mapping[int | None, Mapping[str, float | None]] | None = FINAL,
    name: str = "digits",
    data_fingerprint: str = "d" * 64,
    frozen: tuple[FrozenSummary, ...] = (FrozenSummary("fc", 10, ("fc",), "these channels are the network's outputs"),),
    limits: tuple[str, ...] = (),
    **options: Any,
) -> Run:
    """Write a run folder and open it."""
    options = {"task": name, "seed": 7, "trials": 9, "constraints": ("accuracy>=0.8",), **options}
    (folder / "policies").mkdir(parents=True)
    info = _info(SearchOptions(**options), name, data_fingerprint, frozen, limits)
    info.write(folder)
    _write_study(folder, info, trials)
    if final is not None:
        write_finished(folder, [_finished(number, values) for number, values in final.items()])
    return open_run(folder)


def _info(
    options: SearchOptions,
    name: str,
    data_fingerprint: str,
    frozen: tuple[FrozenSummary, ...],
    limits: tuple[str, ...] = (),
) -> RunInfo:
    groups = tuple(GroupSummary(n, c, (n, f"{n}.bn"), i, "exact") for i, (n, c) in enumerate(GROUPS.items()))
    return RunInfo(
        task_reference=name,
        task_name=name,
        device=options.device,
        options=options,
        versions=installed_versions(),
        seed=options.seed,
        samples=4000,
        constraints=(*options.constraints, *limits),
        fingerprints={"model": "f" * 64, "data": data_fingerprint},
        created="2026-03-01T09:00:00+00:00",
        study_name="espalier",
        dense=Evaluation(DENSE, "measured", 0.03),
        graph=GraphSummary(groups, frozen),
    )


def _write_study(folder: Path, info: RunInfo, trials: Sequence[Trial]) -> None:
    with journal.study(folder, info) as study:
        for number, trial in enumerate(trials):
            study.add_trial(_frozen(number, trial, info))
            if trial.metrics is not None:
                write_json(folder / trial_record.policy_name(number), policy(trial.kept).to_dict())


def _frozen(number: int, trial: Trial, info: RunInfo) -> optuna.trial.FrozenTrial:
    attributes = {trial_record.ORIGIN: trial.origin, **trial.attributes}
    if trial.metrics is None:
        attributes[trial_record.REASON] = trial.reason
        made = optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL, user_attrs=attributes)
    else:
        seconds = {"prune": 0.1, "train": 2.0, "validate": 0.3, "cost": 0.2}
        samples = info.samples if trial.samples is None else trial.samples
        evaluation = Evaluation(trial.metrics, "measured", 0.05, samples, seconds)
        attributes[trial_record.EVALUATION] = evaluation.to_dict()
        values = [float(trial.metrics[o.name] or 0.0) for o in info.options.parsed_objectives]
        made = optuna.trial.create_trial(values=values, user_attrs=attributes)
    made.datetime_start = datetime.fromtimestamp(START + 10 * number)
    made.datetime_complete = datetime.fromtimestamp(START + 10 * number + 8)
    return made


def _finished(number: int | None, values: Mapping[str, float | None]) -> FinishedNetwork:
    latency = values["latency_ms"] or 0.0
    layers = tuple(LayerCost(name, "conv", 1000, 4000, latency * share) for name, share in _SHARES.items())
    return FinishedNetwork(number, Evaluation(values, "measured", 0.02), layers)


_SHARES = {"stem.conv": 0.2, "stage1.0.conv1": 0.35, "stage2.0.conv1": 0.25, "stage3.0.conv1": 0.15, "fc": 0.05}
