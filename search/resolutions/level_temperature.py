"""Two numbers for a whole network: how sparse it is, and how strongly sensitivity bends that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from optuna.distributions import BaseDistribution, FloatDistribution

from ...spaces.policy import Policy
from ...spaces.search_space import SearchSpace
from ..sensitivity.table import SensitivityTable
from .bending import bent, count_dropped, with_branches

SPARSEST = 0.95
HOTTEST = 2.0


@dataclass(frozen=True)
class LevelTemperature:
    """A level of sparsity and a temperature; where branches may be dropped, how many of them."""

    space: SearchSpace
    table: SensitivityTable
    name: str = "level and temperature"

    @property
    def distributions(self) -> Mapping[str, BaseDistribution]:
        """Level, temperature and the number of branches dropped."""
        numbers = {"level": FloatDistribution(0.0, SPARSEST), "temperature": FloatDistribution(0.0, HOTTEST)}
        return with_branches(numbers, self.table)

    def policy(self, values: Mapping[str, float]) -> Policy:
        """Return the policy."""
        level, temperature = values["level"], values["temperature"]
        return bent(self.space, self.table, level, temperature=temperature, dropped=count_dropped(values))
