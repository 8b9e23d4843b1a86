"""The policies that a search may try, as parameters to draw values for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import InputError, describe
from .graph.groups import Graph, Group
from .importance.criteria import CRITERIA
from .masks import element_criterion
from .policy import Choice, Policy
from .pruning_types import PRUNING_TYPES, Amount

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
    """How much each group keeps and, where several are allowed, by which pruning type and criterion.

    All parameters are there in every draw, whatever the others' values: those of a type that a group does not take mean
    nothing then. So a sampler sees one space, and equal policies are told by :class:`~espalier.spaces.policy.Policy`.

    Args:
        graph: the traced network.
        types: pruning types allowed; ``none`` always is.
        criteria: importance criteria allowed. Those without scores for single weights rank them all alike, by
            magnitude, and count once for types that zero weights.
        precisions: precisions allowed.
        channel_multiple: layers are left a multiple of it wide, or whole.
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
        for group in self.graph:
            found += self._parameters(group)
        return tuple(found)

    @property
    def size(self) -> int:
        """How many different policies there are; with blocks to drop, at most so many."""
        per_group = [
            1 + sum(len(self.amounts(group, kind)) * len(self._criteria(kind)) for kind in self.offered(group))
            for group in self.graph
        ]
        return math.prod(per_group) * len(self.precisions)

    def offered(self, group: Group) -> tuple[str, ...]:
        """Return the pruning types, other than ``none``, that have something to offer for ``group``."""
        return tuple(kind for kind in self.types if kind != "none" and self.amounts(group, kind))

    def amounts(self, group: Group, kind: str) -> tuple[Amount, ...]:
        """Return what ``group`` may keep by a pruning type, all of it left out; least first."""
        return PRUNING_TYPES.get(kind).options(group, channel_multiple=self.channel_multiple)

    def choice(self, group: Group, kind: str, amount: Amount, criterion: str) -> Choice:
        """Return the choice that keeps ``amount`` of ``group``."""
        kept, of = amount
        if not PRUNING_TYPES.get(kind).ranked:
            return Choice(type=kind, criterion=None, kept=kept, of=of)
        ranked_by = element_criterion(criterion) if PRUNING_TYPES.get(kind).zeroes else criterion
        return Choice(type=kind, criterion=ranked_by, kept=kept, of=of)

    def uniform(self, kind: str, index: int, *, criterion: str | None = None) -> Policy:
        """Return the policy that keeps the amount at ``index``, or the largest there is, of every group by one type.

        Args:
            kind: a pruning type; groups that it has nothing to offer for stay whole.
            index: 0 keeps the least.
            criterion: the space's first unless given.
        """
        choices = {}
        for group in self.graph:
            amounts = self.amounts(group, kind)
            if amounts:
                amount = amounts[min(index, len(amounts) - 1)]
                choices[group.name] = self.choice(group, kind, amount, criterion or self.criteria[0])
        return Policy.of(self.graph, choices, precision=self.precisions[0])

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
        choices = {group.name: self._choice(group, values) for group in self.graph}
        _empty_branches(self.graph, choices)
        return Policy(self.graph.fingerprint, choices, str(values.get("precision", self.precisions[0])))

    def values(self, policy: Policy) -> dict[str, Value]:
        """Return the values that mean ``policy``.

        What the space lacks moves to the nearest that it has: a width to another width; a pattern or level to another;
        a group of a type that is not offered is left whole.
        """
        values: dict[str, Value] = {}
        if len(self.precisions) > 1:
            values["precision"] = policy.precision
        for group in self.graph:
            values.update(self._values(group, policy.choices[group.name]))
        return values

    def _parameters(self, group: Group) -> list[Parameter]:
        offered = self.offered(group)
        if not offered:
            return []
        found = []
        if len(self._type_names(offered)) > 1:
            found.append(Parameter(f"{group.name}:type", "categorical", choices=self._type_names(offered)))
        for kind in offered:
            found.append(self._amount_parameter(group, kind))
        if len(self.criteria) > 1:
            found.append(Parameter(f"{group.name}:criterion", "categorical", choices=tuple(self.criteria)))
        return found

    def _amount_parameter(self, group: Group, kind: str) -> Parameter:
        if kind == "channel":
            step = group.step(self.channel_multiple)
            high = math.ceil(group.channels / step) * step
            return Parameter(f"{group.name}:kept", "int", step, high, step)
        # An index into the amounts, least first: their order is what a sampler can learn from.
        return Parameter(f"{group.name}:{kind}", "int", 0, len(self.amounts(group, kind)) - 1)

    def _type_names(self, offered: Sequence[str]) -> tuple[str, ...]:
        # Keeping all channels is "none" already; other types need it said.
        return tuple(offered) if "channel" in offered else (*offered, "none")

    def _choice(self, group: Group, values: Mapping[str, Value]) -> Choice:
        offered = self.offered(group)
        kind = str(values.get(f"{group.name}:type", offered[0] if offered else "none"))
        criterion = str(values.get(f"{group.name}:criterion", self.criteria[0]))
        if kind == "none":
            return Choice.keep_all(group.channels)
        if kind == "channel":
            kept = min(int(values[f"{group.name}:kept"]), group.channels)
            return Choice.channel(kept=kept, of=group.channels, criterion=criterion)
        return self.choice(group, kind, self.amounts(group, kind)[int(values[f"{group.name}:{kind}"])], criterion)

    def _values(self, group: Group, choice: Choice) -> dict[str, Value]:
        offered = self.offered(group)
        if not offered:
            return {}
        values: dict[str, Value] = {}
        names = self._type_names(offered)
        if len(names) > 1:
            whole = "channel" if "channel" in names else "none"
            values[f"{group.name}:type"] = choice.type if choice.type in names else whole
        for kind in offered:
            values.update(self._amount_value(group, kind, choice))
        if len(self.criteria) > 1:
            values[f"{group.name}:criterion"] = self._criterion_value(choice)
        return values

    def _amount_value(self, group: Group, kind: str, choice: Choice) -> dict[str, Value]:
        """Return the value of one type's parameter; that of a type not chosen keeps as much as it can."""
        if kind == "channel":
            sparsity = choice.sparsity if choice.type == "channel" else 0.0
            width = group.width_near(sparsity, self.channel_multiple)
            step = group.step(self.channel_multiple)
            return {f"{group.name}:kept": math.ceil(width / step) * step}
        amounts = self.amounts(group, kind)
        index = len(amounts) - 1
        if choice.type == kind:
            wanted = choice.kept / choice.of
            index = min(range(len(amounts)), key=lambda i: _distance(amounts[i], wanted, choice.of))
        return {f"{group.name}:{kind}": index}

    def _criterion_value(self, choice: Choice) -> str:
        zeroes = PRUNING_TYPES.get(choice.type).zeroes
        same = [c for c in self.criteria if choice.criterion == (element_criterion(c) if zeroes else c)]
        return (*same, self.criteria[0])[0]

    def _criteria(self, kind: str) -> tuple[str, ...]:
        """Return the criteria that give different networks under a pruning type."""
        if not PRUNING_TYPES.get(kind).ranked:
            return ("",)
        if not PRUNING_TYPES.get(kind).zeroes:
            return tuple(dict.fromkeys(self.criteria))
        return tuple(dict.fromkeys(element_criterion(c) for c in self.criteria))


def _empty_branches(graph: Graph, choices: dict[str, Choice]) -> None:
    """Leave groups whole that go with a dropped branch, so that equal networks have equal policies."""
    for group in graph:
        if group.branch is not None and choices[group.name].type == "block":
            for name in group.branch.groups[1:]:
                choices[name] = Choice.keep_all(graph.group(name).channels)


def _distance(amount: Amount, share: float, of: int) -> tuple[float, int]:
    kept, whole = amount
    return abs(kept / whole - share), abs(whole - of)
