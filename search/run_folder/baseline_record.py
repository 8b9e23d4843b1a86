"""A baseline as it is stored: ``baselines/NAME/baseline.json`` in a run's folder, with final numbers beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import InputError, RunFolderError, describe
from ...evaluators.configuration import Configuration
from ...evaluators.evaluation import Evaluation
from ...evaluators.request import FinishedNetwork
from ...jsonfile import read_json, write_json
from ...spaces.policy import Policy
from .finished_networks import read_finished, with_final_numbers
from .trial_record import weights_name
from .used_budget import UsedBudget

FOLDER = "baselines"
BASELINE = "baseline.json"
BASELINES = {"uniform": False, "iterative uniform": True}
"""By name, whether each level starts from the trained one before it."""


@dataclass(frozen=True)
class Level:
    """One network of a baseline."""

    number: int
    """From 1 on, largest first."""
    sparsity: float
    """That was asked for in every group; widths are the nearest that the device's multiple allows."""
    policy: Policy
    evaluation: Evaluation | None
    """``None`` where it failed."""
    reason: str | None
    """Why it failed."""
    seconds: float
    """That it took, by the clock of the search's budget."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        evaluation = None if self.evaluation is None else self.evaluation.to_dict()
        return {**vars(self), "policy": self.policy.to_dict(), "evaluation": evaluation}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Level:
        """Rebuild a level."""
        stored = data["evaluation"]
        evaluation = None if stored is None else Evaluation(**stored)
        return cls(**{**data, "policy": Policy.from_dict(data["policy"]), "evaluation": evaluation})


@dataclass(frozen=True)
class Baseline:
    """One built-in baseline of a run, as far as it has come."""

    name: str
    budget: UsedBudget
    """What the search used up, and so what this may."""
    levels: tuple[Level, ...] = ()
    finished: Mapping[int | None, FinishedNetwork] = field(default_factory=dict)
    """Final numbers by level, ``None`` the dense network beside them; empty until all levels are trained."""

    @property
    def seconds(self) -> float:
        """What its levels took."""
        return sum(level.seconds for level in self.levels)

    @property
    def samples(self) -> int:
        """What its levels were trained on."""
        return sum(level.evaluation.samples for level in self.levels if level.evaluation is not None)

    @property
    def configurations(self) -> tuple[Configuration, ...]:
        """Its networks, their levels for trials; with final numbers, and those that have them alone, once there are."""
        found = [_configuration(level, e) for level in self.levels if (e := level.evaluation) is not None]
        return tuple(
            with_final_numbers(c, self.finished) for c in found if not self.finished or c.trial in self.finished
        )


def baseline_folder(run: Path, name: str) -> Path:
    """Return where the baseline called ``name`` lies."""
    return run / FOLDER / name.replace(" ", "-")


def level_weights(folder: Path, number: int) -> Path:
    """Return where the weights of a level lie until its baseline is finished."""
    return folder / weights_name(number)


def write_baseline(folder: Path, baseline: Baseline) -> None:
    """Write ``baseline.json`` atomically."""
    content = {"version": 1, "name": baseline.name, "budget": baseline.budget.to_dict()}
    write_json(folder / BASELINE, {**content, "levels": [level.to_dict() for level in baseline.levels]})


def read_baseline(folder: Path) -> Baseline | None:
    """Return the baseline in ``folder``; ``None`` where there is none.

    Raises:
        RunFolderError: it is torn or malformed.
    """
    path = folder / BASELINE
    if not path.exists():
        return None
    try:
        content = read_json(path)
        levels = tuple(Level.from_dict(data) for data in content["levels"])
        return Baseline(content["name"], UsedBudget(**content["budget"]), levels, read_finished(folder))
    except (KeyError, TypeError, InputError) as error:
        if isinstance(error, RunFolderError):
            raise
        expected, remedy = "what Espalier wrote", f"Delete the folder {folder} and resume with --baselines."
        raise RunFolderError(describe(f"{path} is no baseline ({error})", expected=expected, remedy=remedy)) from error


def read_baselines(run: Path) -> tuple[Baseline, ...]:
    """Return the baselines of a run that have come to their end."""
    found = (read_baseline(baseline_folder(run, name)) for name in BASELINES)
    return tuple(baseline for baseline in found if baseline is not None and baseline.finished)


def _configuration(level: Level, evaluation: Evaluation) -> Configuration:
    return Configuration(level.number, level.policy, evaluation)
