"""What a calibration measures: random pruned variants of one network, from hardly to heavily pruned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from ...spaces.apply import prune
from ...spaces.graph.groups import Graph
from ...spaces.graph.trace import trace
from ...spaces.importance.rankings import Rankings, rank
from ...spaces.policy import Policy
from ..task.task import Inputs

STEPS = (1, 8, 16)
"""A third of the variants each has widths in these steps: arbitrary ones show what falling out of the runtime's blocked
layout costs, multiples show what a search proposes."""
_MOST = 0.92
_SPREADS = (0.0, 0.15, 0.35)


@dataclass(frozen=True)
class Variant:
    """A network to be measured."""

    network: nn.Module
    example_input: Inputs
    origin: str


@dataclass(frozen=True)
class VariantSource:
    """Draws pruned variants of one network; nothing of the network is changed.

    Args:
        model: the dense network.
        example_input: what it takes, a batch of 1.
        graph: its trace.
        rankings: by ``l2``: which weights are cut changes no latency, but trained ones have no denormals.
    """

    model: nn.Module
    example_input: Inputs
    graph: Graph
    rankings: Rankings

    @classmethod
    def of(cls, model: nn.Module, example_input: Inputs, graph: Graph | None = None) -> VariantSource:
        """Return the source of a network's variants, tracing it unless a trace is given."""
        found = graph or trace(model, example_input)
        return cls(model, example_input, found, rank(model, found, ("l2",)))

    def policies(self, generator: torch.Generator) -> Iterator[tuple[Policy, str]]:
        """Yield policies without end, with the step of their widths, the dense network first."""
        yield Policy.dense(self.graph), "dense"
        while True:
            for step in STEPS:
                yield self._random(generator, step), f"step {step}"

    def variant(self, policy: Policy, origin: str) -> Variant:
        """Return the pruned network of a policy."""
        return Variant(prune(self.model, self.graph, policy, rankings=self.rankings), self.example_input, origin)

    def _random(self, generator: torch.Generator, step: int) -> Policy:
        level = _MOST * float(torch.rand((), generator=generator))
        spread = _SPREADS[int(torch.randint(len(_SPREADS), (), generator=generator))]
        noise = spread * torch.randn(len(self.graph), generator=generator)
        kept: Mapping[str, int] = {
            group.name: group.width_near(min(max(level + float(noise[i]), 0.0), 0.97), min(step, group.channels))
            for i, group in enumerate(self.graph)
        }
        return Policy.from_kept(self.graph, kept)
