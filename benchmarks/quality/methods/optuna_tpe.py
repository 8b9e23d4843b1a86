"""Optuna's TPE with one ratio per layer, as its users write it."""

from __future__ import annotations

from collections.abc import Iterator

import optuna

from ..base import METHODS, Candidate
from ..per_layer import study
from ..setting import Setting


class OptunaTPE:
    """One ratio per layer; each trial cut from the dense network."""

    description = "Optuna TPE, a ratio per layer; every trial from the dense network"

    def search(self, setting: Setting) -> Iterator[Candidate]:
        """Yield every trial."""
        yield from study(setting, optuna.samplers.TPESampler(seed=setting.seed))


METHODS.add("optuna-tpe", OptunaTPE())
