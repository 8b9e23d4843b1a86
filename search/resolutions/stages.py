"""One sparsity for each stage of the network: its layers of one spatial resolution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from optuna.distributions import BaseDistribution, FloatDistribution

from ...spaces.policy import Policy
from ...spaces.search_space import SearchSpace
from ..sensitivity.table import SensitivityTable
from .bending import count_dropped, placed, with_branches
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
        return with_branches({f"stage {s}": FloatDistribution(0.0, SPARSEST) for s in stages}, self.table)

    def policy(self, values: Mapping[str, float]) -> Policy:
        """Return the policy."""
        levels = {group.name: values[f"stage {group.stage}"] for group in self.space.graph}
        return placed(self.space, self.table, levels, dropped=count_dropped(values))
