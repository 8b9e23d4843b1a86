"""The policies that a search may try, as parameters to draw values for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import InputError, describe
from .criteria import CRITERIA
from .groups import Graph, Group
from .policy import Choice, Policy
from .pruning_types import PRUNING_TYPES

Value = int | str


@dataclass(frozen=True)
class Parameter:
    """One number or name to choose; whatever draws it needs no knowledge of networks."""

    name: str
    kind: Literal["int", "categorical"]
    low: int = 0
    high: int = 0
    step: int = 1
    choices: tuple[str, ...] = ()

    def holds(self, value: object) -> bool:
        """Return whether ``value`` is one that the parameter can take."""
        if self.kind == "categorical":
            return value in self.choices
        return isinstance(value, int) and self.low <= value <= self.high and (value - self.low) % self.step == 0


@dataclass(frozen=True)
class SearchSpace:
    """One kept width for each group and, where several criteria are allowed, one criterion for each group.

    Args:
        graph: the traced network.
        types: pruning types allowed; ``none`` always is.
        criteria: importance criteria allowed.
        precisions: precisions allowed.
        channel_multiple: kept channels are a multiple of it, or all of them.
    """

    graph: Graph
    types: Sequence[str] = ("channel",)
    criteria: Sequence[str] = ("l2",)
    precisions: Sequence[str] = ("fp32",)
    channel_multiple: int = 1

    def __post_init__(self) -> None:
        for name in self.types:
            PRUNING_TYPES.get(name)
        for name in self.criteria:
            CRITERIA.get(name)
        if not self.criteria or not self.precisions:
            raise InputError(
                describe(
                    "no criterion or precision",
                    expected="at least one of each",
                    remedy="Name one, such as l2 and fp32.",
                )
            )

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """All parameters, in the order of the groups."""
        found: list[Parameter] = []
        if len(self.precisions) > 1:
            found.append(Parameter("precision", "categorical", choices=tuple(self.precisions)))
        for group in self._prunable():
            high = math.ceil(group.channels / self.channel_multiple) * self.channel_multiple
            kept = Parameter(f"{group.name}:kept", "int", self.channel_multiple, high, self.channel_multiple)
            found.append(kept)
            if len(self.criteria) > 1:
                found.append(Parameter(f"{group.name}:criterion", "categorical", choices=tuple(self.criteria)))
        return tuple(found)

    @property
    def size(self) -> int:
        """How many different policies there are."""
        per_group = [1 + (len(g.widths(self.channel_multiple)) - 1) * len(self.criteria) for g in self._prunable()]
        return math.prod(per_group) * len(self.precisions)

    def policy(self, values: Mapping[str, Value]) -> Policy:
        """Return the policy that the values of :attr:`parameters` mean.

        Raises:
            InputError: a value is missing or outside its parameter's range.
        """
        for parameter in self.parameters:
            if not parameter.holds(values.get(parameter.name)):
                raise InputError(
                    describe(
                        f"value {values.get(parameter.name)!r} of {parameter.name!r}",
                        expected=f"a value of {parameter}",
                        remedy="Draw every value from the space's parameters.",
                    )
                )
        prunable = {g.name for g in self._prunable()}
        choices = {
            g.name: self._choice(g, values) if g.name in prunable else Choice.keep_all(g.channels) for g in self.graph
        }
        return Policy(self.graph.fingerprint, choices, str(values.get("precision", self.precisions[0])))

    def values(self, policy: Policy) -> dict[str, Value]:
        """Return the values that mean ``policy``; widths that the space lacks move to the nearest that it has."""
        values: dict[str, Value] = {}
        if len(self.precisions) > 1:
            values["precision"] = policy.precision
        for group in self._prunable():
            choice = policy.choices[group.name]
            width = group.width_near(choice.sparsity, self.channel_multiple)
            values[f"{group.name}:kept"] = math.ceil(width / self.channel_multiple) * self.channel_multiple
            if len(self.criteria) > 1:
                known = choice.criterion in self.criteria
                values[f"{group.name}:criterion"] = str(choice.criterion) if known else self.criteria[0]
        return values

    def _choice(self, group: Group, values: Mapping[str, Value]) -> Choice:
        kept = min(int(values[f"{group.name}:kept"]), group.channels)
        criterion = str(values.get(f"{group.name}:criterion", self.criteria[0]))
        return Choice.channel(kept=kept, of=group.channels, criterion=criterion)

    def _prunable(self) -> list[Group]:
        if "channel" not in self.types:
            return []
        return [g for g in self.graph if len(g.widths(self.channel_multiple)) > 1]
