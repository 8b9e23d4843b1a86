"""Optuna's NSGA-II with one ratio per layer, as its users write it."""

from __future__ import annotations

from collections.abc import Iterator

import optuna

from ..base import METHODS, Candidate
from ..per_layer import study
from ..setting import Setting


class OptunaNSGA2:
    """One ratio per layer; each trial cut from the dense network."""

    description = "Optuna NSGA-II, a ratio per layer; every trial from the dense network"

    def search(self, setting: Setting) -> Iterator[Candidate]:
        """Yield every trial."""
        yield from study(setting, optuna.samplers.NSGAIISampler(seed=setting.seed, population_size=10))


METHODS.add("optuna-nsga2", OptunaNSGA2())
