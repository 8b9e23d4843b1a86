"""How the channels of a group are ranked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch

from ...graph.groups import Group, Slice

Need = Literal["gradients", "squared_gradients", "sample_changes", "activations"]
"""What is taken from training samples, once for a network, and only where a criterion asks for it."""


@dataclass(frozen=True)
class Activations:
    """Mean absolute values that flow into and out of convolution and linear layers, by the layer's qualified name."""

    read: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """For each input channel of a layer, shape ``(inputs,)``: behind the normalisation and non-linearity before it."""
    written: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """For each output channel of a layer, shape ``(outputs,)``."""


@dataclass(frozen=True)
class Statistics:
    """What criteria may look at."""

    tensors: Mapping[str, torch.Tensor]
    """Every parameter and buffer by its qualified name."""
    gradients: Mapping[str, torch.Tensor]
    """Gradients of the loss by parameter name, summed over batches; empty unless a criterion needs them."""
    norm_layers: frozenset[str]
    """Names of the BatchNorm layers."""
    generator: torch.Generator
    squared_gradients: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """Mean square of the gradients of single samples, by parameter name; empty unless a criterion needs them."""
    sample_changes: Mapping[tuple[str, int], torch.Tensor] = field(default_factory=dict)
    """For (weight, dimension): gradient times weight summed over all other dimensions, shape ``(samples, size)``."""
    activations: Activations = field(default_factory=Activations)
    """Empty unless a criterion needs them."""


class Criterion(Protocol):
    """Scores channels: the higher, the more a channel is worth keeping."""

    @property
    def needs(self) -> frozenset[Need]:
        """What is needed from training samples; empty where the weights tell all."""
        ...

    def applies(self, group: Group, statistics: Statistics) -> bool:
        """Return whether this criterion can tell the channels of ``group`` apart."""
        ...

    def scores(self, group: Group, statistics: Statistics) -> torch.Tensor:
        """Return one score for each channel, shape ``(group.channels,)``."""
        ...


def weight_slices(group: Group, statistics: Statistics) -> list[Slice]:
    """Return the slices of convolution and linear weights, those that produce and those that consume channels."""
    return [s for s in group.slices if statistics.tensors[s.tensor].dim() >= 2]


def per_channel(piece: Slice, values: torch.Tensor) -> torch.Tensor:
    """Sum ``values``, one row for each index along the slice's dimension, over the positions of each channel.

    Returns:
        Shape ``(channels, ...)``.
    """
    channels = torch.tensor([c for c, row in enumerate(piece.positions) for _ in row], dtype=torch.long)
    indices = torch.tensor([i for row in piece.positions for i in row], dtype=torch.long)
    total = torch.zeros((len(piece.positions), *values.shape[1:]), dtype=values.dtype)
    return total.index_add_(0, channels, values[indices])


def along(tensor: torch.Tensor, dim: int) -> torch.Tensor:
    """Return ``tensor`` as a matrix with one row for each index along ``dim``."""
    return tensor.detach().movedim(dim, 0).flatten(1).float()


def mean_of_normalised(scores: list[torch.Tensor]) -> torch.Tensor:
    """Average the scores of several tensors after scaling each to a mean of 1, so that none drowns the others."""
    return torch.stack([s / s.mean().clamp_min(1e-12) for s in scores]).mean(0)
