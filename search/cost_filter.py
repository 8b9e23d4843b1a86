"""Costs told before training: this machine is calibrated for the network, and what cannot pay is turned down.

What is turned down: a candidate that breaks a constraint even at the better end of its predicted interval, and one that
is slower, beyond the error, than a network that keeps more. Those that pass are measured as ever.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..evaluators.cost_prediction import CostPredictor, PredictedCost
from ..evaluators.hardware.calibrate import calibrate
from ..evaluators.hardware.calibrated import CalibratedDevice, calibrated_device
from ..evaluators.hardware.calibration_table import Calibration
from ..evaluators.hardware.device import Device
from ..evaluators.hardware.learned import LearnedModel
from ..evaluators.objectives import Constraint
from ..evaluators.task.task import Task
from ..spaces.graph.groups import Graph
from ..spaces.policy import Choice, Policy
from .budget.shares import (
    CALIBRATION_SECONDS,
    CALIBRATION_SHARE,
    CANDIDATES_SHARE,
    LEAST_SECONDS,
    LEAST_TRIALS,
    PATH_SHARE,
    REFINEMENT_SHARE,
)
from .options import SearchOptions

CALIBRATION = "calibration.csv"
_PREDICTED = ("latency_ms", "macs", "params")
_STEPS = (8, 16)

Say = Callable[[str], None]


def seconds_for(options: SearchOptions, device: Device) -> float:
    """Return how long to calibrate for; 0 is not at all."""
    if options.calibrate is False or device.cost_model != "measured" or device.runtime != "onnxruntime":
        return 0.0
    share = min(CALIBRATION_SECONDS, _affordable(options))
    if options.calibrate:
        return max(share, LEAST_SECONDS)
    return share if options.trials >= LEAST_TRIALS and share >= LEAST_SECONDS else 0.0


def _affordable(options: SearchOptions) -> float:
    if options.budget is None:
        return math.inf
    if options.inherit and options.samples is None:
        return CANDIDATES_SHARE * (1 - PATH_SHARE - REFINEMENT_SHARE) * options.budget
    return CALIBRATION_SHARE * options.budget


@dataclass(frozen=True)
class CostFilter:
    """Predicts candidates and turns down those that cannot pay."""

    predictor: CostPredictor
    constraints: tuple[Constraint, ...]
    error: str
    """The held-out error, in words."""

    def predict(self, policy: Policy) -> PredictedCost:
        """Return what a policy is predicted to cost."""
        return self.predictor.predict([policy])[0]

    def objection(self, policy: Policy) -> str | None:
        """Return why a policy is not worth training; ``None`` where it is."""
        wider = self._wider(policy)
        cost, *others = self.predictor.predict([policy, *wider])
        for constraint in self._bounds:
            best = cost.latency_low if constraint.objective.name == "latency_ms" else _metric(cost, constraint)
            if best > constraint.bound:
                told = f"{_metric(cost, constraint):.4g} {constraint.objective.unit}".rstrip()
                return f"predicted {told}, at least {best:.4g}: breaks {constraint}"
        faster = min(others, key=lambda o: o.latency_ms, default=None)
        if faster is not None and faster.latency_high < cost.latency_low:
            return (
                f"predicted {cost.latency_ms:.4g} ms, slower than the {faster.latency_ms:.4g} ms of a network that "
                "keeps more"
            )
        return None

    def was_right(
        self,
        policy: Policy,
        measure: Callable[[Policy], Mapping[str, float | None]],
        measured: Mapping[str, float | None],
    ) -> bool:
        """Return whether an objection to ``policy`` stands once its cost is ``measured``.

        It does where a constraint is broken, or where some network that keeps more is no slower; ``measure`` tells
        what those cost.
        """
        if any(c.violation(measured) > 0 for c in self._bounds):
            return True
        latency = measured.get("latency_ms") or math.inf
        return any((measure(wider).get("latency_ms") or math.inf) <= latency for wider in self._wider(policy))

    @property
    def _bounds(self) -> tuple[Constraint, ...]:
        return tuple(c for c in self.constraints if c.objective.name in _PREDICTED and c.operator == "<=")

    def _wider(self, policy: Policy) -> list[Policy]:
        """Return networks that keep as much or more of every group: the dense one, and widths rounded up."""
        graph = self.predictor.graph
        found = [Policy(policy.model_fingerprint, Policy.dense(graph).choices, policy.precision)]
        for step in _STEPS:
            choices = {name: _rounded_up(choice, step) for name, choice in policy.choices.items()}
            found.append(Policy(policy.model_fingerprint, choices, policy.precision))
        return [p for p in found if p != policy]


def make_cost_filter(
    task: Task,
    graph: Graph,
    device: Device,
    options: SearchOptions,
    folder: Path,
    constraints: tuple[Constraint, ...],
    say: Say,
) -> CostFilter | None:
    """Return the cost filter of a run, calibrated before or now; ``None`` where the run does without.

    Args:
        task: whose network is searched.
        graph: its trace.
        device: that the search is for.
        options: of the search.
        folder: of the run, which keeps the calibration.
        constraints: the run's, the device's limits included.
        say: is told the held-out error.
    """
    seconds = seconds_for(options, device)
    path = folder / CALIBRATION
    if options.calibrate is False or (seconds == 0 and not path.exists()):
        return None
    model = task.model().eval()
    if path.exists():
        found = calibrated_device(Calibration.read(path), base=device, command="espalier search")
    else:
        say(f"calibrating this machine for the network, up to {seconds:.0f} s")
        found = calibrate(
            model,
            task.example_input,
            graph=graph,
            runtime=device.runtime,
            threads=options.threads_per_worker,
            precisions=options.precision,
            seconds=seconds,
            seed=options.seed,
        )
        found.measurements.write(path)
    error = error_words(found)
    say(error)
    predictor = CostPredictor(model, task.example_input, graph, LearnedModel(found))
    return CostFilter(predictor, constraints, error)


def error_words(device: CalibratedDevice) -> str:
    """Return the held-out error of a learned model in a line."""
    parts = [
        f"{p}: {e.share_within_10_percent:.0%} of {e.held_out} networks held out within 10 %, nine of ten within "
        f"{e.interval_90:.1%}"
        for p, e in device.fit.items()
    ]
    return f"latencies are predicted before training ({'; '.join(parts)})"


def _metric(cost: PredictedCost, constraint: Constraint) -> float:
    return float(getattr(cost, constraint.objective.name))


def _rounded_up(choice: Choice, step: int) -> Choice:
    if choice.type != "channel" or choice.criterion is None:
        return choice
    kept = min(math.ceil(choice.kept / step) * step, choice.of)
    return Choice.channel(kept=kept, of=choice.of, criterion=choice.criterion)
