"""One sparsity for each stage of the network: its layers of one spatial resolution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from ...spaces.policy import Policy
from ...spaces.search_space import SearchSpace
from ..sensitivity_table import SensitivityTable
from .bending import droppable, placed
from .level_temperature import SPARSEST


@dataclass(frozen=True)
class Stages:
    """A sparsity for each stage; where branches may be dropped, how many of them."""

    space: SearchSpace
    table: SensitivityTable
    name: str = "stages"

    @property
    def distributions(self) -> Mapping[str, BaseDistribution]:
        """The stages' sparsities and the number of branches dropped."""
        stages = sorted({group.stage for group in self.space.graph})
        found: dict[str, BaseDistribution] = {f"stage {s}": FloatDistribution(0.0, SPARSEST) for s in stages}
        branches = len(droppable(self.table))
        return found | ({"dropped": IntDistribution(0, branches)} if branches else {})

    def policy(self, values: Mapping[str, float]) -> Policy:
        """Return the policy."""
        levels = {group.name: values[f"stage {group.stage}"] for group in self.space.graph}
        return placed(self.space, self.table, levels, dropped=int(values.get("dropped", 0)))
