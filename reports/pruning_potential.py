"""What pruning channels can reach at most on a device, and which groups have no effect there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import nn

from ..evaluators.counting import count_macs, count_params
from ..evaluators.hardware.base import Cost, CostModel
from ..spaces.apply import prune
from ..spaces.graph.groups import Graph, Group
from ..spaces.importance.rankings import Rankings, rank
from ..spaces.inputs import Inputs
from ..spaces.policy import Policy
from . import formatting as fmt

TIMED_SECONDS = 5.0
"""About so long single groups are timed, those first that remove most MACs."""
TOGETHER = 8
"""Networks measured in turns with the dense one: few enough to be held in memory, runtime and all."""
NOISE = 0.02
"""Least difference of two measured latencies that means something, as a fraction; the dense network, measured first and
last of each round of :data:`TOGETHER`, may say that it is more."""
_SECONDS_BESIDE_RUNS = 0.4
"""For exporting, opening and warming up one network, and for the blocks of runs of one that is fast."""
_LEAST_TIMED = 2
_RUNS = 25
"""Runs of a network that is slow."""


@dataclass(frozen=True)
class Reached:
    """What one way of pruning all groups reaches; without fine-tuning, so it says nothing of accuracy."""

    name: str
    """``most pruned`` (every group at its narrowest) or ``uniform 0.5``."""
    macs: int
    params: int
    size_bytes: int
    latency_ms: float
    latency_low: float
    latency_high: float
    source: str
    """Of the latency: ``measured``, ``learned`` or ``roofline``."""
    times_less: Mapping[str, float] = field(default_factory=dict)
    """For ``macs``, ``params``, ``size_bytes`` and ``latency_ms``: the dense network's, divided by this."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {**asdict(self), "times_less": dict(self.times_less)}


@dataclass(frozen=True)
class Effect:
    """What a group brings on the device when it alone is pruned to its narrowest width."""

    group: str
    kept: int
    of: int
    macs_removed: int
    params_removed: int
    latency_ms: float | None
    """``None`` where it was not timed."""
    latency_change: float | None
    """Against the dense network beside it, as a fraction: -0.1 is a tenth less."""
    has_effect: bool
    why: str
    """Why it has no effect; empty where it has one."""


@dataclass(frozen=True)
class PruningPotential:
    """The dense network's cost, and what pruning can make of it."""

    dense: Cost
    reached: tuple[Reached, ...]
    effects: tuple[Effect, ...]


@dataclass(frozen=True)
class _Prober:
    model: nn.Module
    graph: Graph
    example_input: Inputs
    costs: CostModel
    rankings: Rankings

    @property
    def multiple(self) -> int:
        return self.costs.alignment("fp32")

    @property
    def times(self) -> bool:
        return self.costs.source == "measured"

    def pruned(self, policy: Policy) -> nn.Module:
        return prune(self.model, self.graph, policy, rankings=self.rankings)

    def alone(self, group: Group) -> nn.Module:
        return self.pruned(Policy.from_kept(self.graph, {group.name: group.widths(self.multiple)[0]}))

    def together(self, models: Sequence[nn.Module]) -> tuple[Cost, ...]:
        return self.costs.estimate_together(models, self.example_input, precisions=["fp32"] * len(models))


def pruning_potential(model: nn.Module, graph: Graph, example_input: Inputs, costs: CostModel) -> PruningPotential:
    """Return what pruning the channels of ``graph`` can reach where ``costs`` tells the cost.

    Args:
        model: the dense network; left as it is.
        graph: its trace.
        example_input: a batch of 1.
        costs: of the device. Where it measures, single groups are timed for some seconds at most.
    """
    if not len(graph):
        return PruningPotential(costs.estimate(model, example_input), (), ())
    probe = _Prober(model, graph, example_input, costs, rank(model, graph, ("l2",)))
    narrowest = {group.name: group.widths(probe.multiple)[0] for group in graph}
    policies = {
        "most pruned": Policy.from_kept(graph, narrowest),
        "uniform 0.5": Policy.uniform(graph, 0.5, channel_multiple=probe.multiple),
    }
    dense, *found = probe.together([model, *map(probe.pruned, policies.values())])
    reached = tuple(_reached(name, cost, dense) for name, cost in zip(policies, found, strict=True))
    return PruningPotential(dense, reached, _effects(probe, dense))


def _reached(name: str, cost: Cost, dense: Cost) -> Reached:
    times = {m: getattr(dense, m) / getattr(cost, m) for m in ("macs", "params", "size_bytes", "latency_ms")}
    return Reached(
        name=name,
        macs=cost.macs,
        params=cost.params,
        size_bytes=cost.size_bytes,
        latency_ms=cost.latency_ms,
        latency_low=cost.latency_low,
        latency_high=cost.latency_high,
        source=cost.source,
        times_less=times,
    )


def _effects(probe: _Prober, dense: Cost) -> tuple[Effect, ...]:
    if not probe.times:
        return tuple(_computed(probe, group, dense) for group in probe.graph)
    counted = {group.name: _counted(probe, group, dense) for group in probe.graph}
    lighter = sorted(
        (g for g in probe.graph if counted[g.name].macs_removed > 0), key=lambda g: -counted[g.name].macs_removed
    )
    timed = dict(_timed(probe, lighter[: _how_many(dense)]))
    return tuple(_judged(counted[g.name], timed.get(g.name), dense) for g in probe.graph)


def _computed(probe: _Prober, group: Group, dense: Cost) -> Effect:
    if group.widths(probe.multiple)[0] == group.channels:
        return _counted(probe, group, dense)
    (cost,) = probe.together([probe.alone(group)])
    effect = _effect(probe, group, dense, cost.macs, cost.params)
    change = cost.latency_ms / dense.latency_ms - 1
    return _judged(effect, (cost.latency_ms, change, 0.0), dense) if effect.has_effect else effect


def _counted(probe: _Prober, group: Group, dense: Cost) -> Effect:
    if group.widths(probe.multiple)[0] == group.channels:
        return _effect(probe, group, dense, dense.macs, dense.params)
    small = probe.alone(group)
    return _effect(probe, group, dense, count_macs(small, probe.example_input), count_params(small))


def _effect(probe: _Prober, group: Group, dense: Cost, macs: int, params: int) -> Effect:
    kept, why = group.widths(probe.multiple)[0], ""
    if kept == group.channels:
        all_there_is = f"{fmt.plural(kept, 'channel')} in all"
        why = f"the device works in multiples of {probe.multiple}, and it has {all_there_is}"
    elif macs >= dense.macs:
        why = "its layers cost no MACs that pruning it would save"
    return Effect(
        group=group.name,
        kept=kept,
        of=group.channels,
        macs_removed=dense.macs - macs,
        params_removed=dense.params - params,
        latency_ms=None,
        latency_change=None,
        has_effect=not why,
        why=why,
    )


def _how_many(dense: Cost) -> int:
    return max(_LEAST_TIMED, int(TIMED_SECONDS / (_SECONDS_BESIDE_RUNS + _RUNS * dense.latency_ms / 1e3)))


def _timed(probe: _Prober, groups: Sequence[Group]) -> Iterator[tuple[str, tuple[float, float, float]]]:
    """Yield each group's latency, its change against the dense network, and the least change that means something."""
    for start in range(0, len(groups), TOGETHER):
        chunk = groups[start : start + TOGETHER]
        first, *found, last = probe.together([probe.model, *map(probe.alone, chunk), probe.model])
        base = (first.latency_ms + last.latency_ms) / 2
        noise = max(NOISE, abs(first.latency_ms - last.latency_ms) / base)
        for group, cost in zip(chunk, found, strict=True):
            yield group.name, (cost.latency_ms, cost.latency_ms / base - 1, noise)


def _judged(effect: Effect, timed: tuple[float, float, float] | None, dense: Cost) -> Effect:
    if timed is None:
        return effect
    latency, change, noise = timed
    why = ""
    if change >= -noise:
        saved = fmt.percent(effect.macs_removed / dense.macs, 1)
        gain = f"only {fmt.percent(-change, 1)}" if change < 0 else "none"
        limit = f"; less than {fmt.percent(noise)} cannot be told from noise" if noise else ""
        why = f"at {effect.kept} of {effect.of} channels {saved} of the MACs go, but {gain} of the latency{limit}"
    return Effect(
        **{**asdict(effect), "latency_ms": latency, "latency_change": change, "has_effect": not why, "why": why}
    )
