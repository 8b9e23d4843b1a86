"""Proposals at the coarse resolutions of the search space, before the sampler proposes a choice for each group.

Each resolution has a study of its own in memory, rebuilt from the run's trials whenever it is asked: a killed search
loses nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState

from ..spaces.search_space import SearchSpace, Value
from .resolutions import Resolution
from .samplers import coarse_sampler, derived_seed

RESOLUTION = "resolution"
COARSE_VALUES = "coarse_values"
MOST = 12
"""Trials at each resolution; in a shorter search a sixth of all."""
SHARE = 6
_PRECISION = "precision"


@dataclass(frozen=True)
class Coarse:
    """A proposal: the values of the space's own parameters, and what the trial is to remember."""

    resolution: str
    values: Mapping[str, Value]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class CoarseProposals:
    """Asks one resolution after the other.

    Args:
        study: of the run.
        space: what is searched.
        resolutions: coarsest first.
        sampler: its name.
        seed: of the run.
        trials: of the run in all.
    """

    study: optuna.Study
    space: SearchSpace
    resolutions: Sequence[Resolution]
    sampler: str
    seed: int
    trials: int

    def next(self) -> Coarse | None:
        """Return a proposal; ``None`` once each resolution has had its trials."""
        if not self.resolutions:
            return None
        known = [t for t in self.study.get_trials(deepcopy=False) if RESOLUTION in t.user_attrs]
        for index, resolution in enumerate(self.resolutions):
            before = [t for t in known if t.user_attrs[RESOLUTION] == resolution.name]
            if len(before) < min(MOST, self.trials // SHARE):
                return self._asked(resolution, before, seed=derived_seed(self.seed + index, len(before)))
        return None

    def _asked(self, resolution: Resolution, before: Sequence[optuna.trial.FrozenTrial], *, seed: int) -> Coarse:
        distributions = self._distributions(resolution)
        study = optuna.create_study(directions=self.study.directions, sampler=coarse_sampler(self.sampler, seed))
        for trial in before:
            if trial.state == TrialState.COMPLETE:
                study.add_trial(_told(trial, distributions))
        found = study.ask(dict(distributions)).params
        policy = replace(resolution.policy(found), precision=str(found.get(_PRECISION, self.space.precisions[0])))
        return Coarse(resolution.name, self.space.values(policy), {RESOLUTION: resolution.name, COARSE_VALUES: found})

    def _distributions(self, resolution: Resolution) -> Mapping[str, BaseDistribution]:
        if len(self.space.precisions) == 1:
            return resolution.distributions
        return {**resolution.distributions, _PRECISION: CategoricalDistribution(tuple(self.space.precisions))}


def _told(trial: optuna.trial.FrozenTrial, distributions: Mapping[str, BaseDistribution]) -> optuna.trial.FrozenTrial:
    return optuna.trial.create_trial(
        params=dict(trial.user_attrs[COARSE_VALUES]), distributions=dict(distributions), values=trial.values
    )
