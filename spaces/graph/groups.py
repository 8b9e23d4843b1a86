"""What can be pruned: groups of coupled channels, and the groups that may not be touched.

A group is what DepGraph calls one (Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023,
arXiv:2301.12900): channels of several layers that can only be removed together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ...errors import describe, unknown_name
from .freeze_reasons import FreezeCode, FreezeReason

Verification = Literal["exact", "shape"]


def layer_of(tensor: str) -> str:
    """Return the layer that a tensor belongs to; of a parametrised weight (weight norm) the layer that it makes."""
    return tensor.partition(".parametrizations.")[0] if ".parametrizations." in tensor else tensor.rpartition(".")[0]


@dataclass(frozen=True)
class Slice:
    """Where a group's channels lie along one dimension of one tensor."""

    tensor: str
    """Qualified name of a parameter or buffer, such as ``layer1.0.conv1.weight``."""
    dim: int
    positions: tuple[tuple[int, ...], ...]
    """``positions[c]`` are the indices along ``dim`` that belong to channel ``c`` of the group."""
    produces: bool
    """Whether this tensor produces the channel (a filter, a bias, a scale) or consumes it (an input column)."""

    @property
    def layer(self) -> str:
        """Qualified name of the module that holds the tensor."""
        return layer_of(self.tensor)


@dataclass(frozen=True)
class SizeAttribute:
    """A number that a module keeps and that follows a group's width, such as ``num_heads``."""

    module: str
    name: str
    index: int | None
    """Position in the attribute where that is a list or tuple."""
    value: int
    """In the dense network."""
    per: tuple[int, ...] = ()
    """By how much it falls with each channel of the group; the same for each where this is empty."""

    def fall(self, gone: Sequence[int], channels: int) -> int:
        """Return by how much the number falls where ``gone`` of ``channels`` go."""
        return sum(self.per[c] for c in gone) if self.per else self.value * len(gone) // channels


@dataclass(frozen=True)
class Weight:
    """A weight of a convolution or linear layer, some or all of whose rows make a group's channels."""

    tensor: str
    dim: int
    """The dimension of the outputs: a row is what one output is computed with."""
    rows: tuple[int, ...]
    """Indices along ``dim`` that make the group's channels."""
    shape: tuple[int, ...]
    """Of the whole tensor, in the dense network."""

    @property
    def count(self) -> int:
        """How many single weights the rows hold."""
        return math.prod(self.shape) // self.shape[self.dim] * len(self.rows)

    @property
    def inputs(self) -> int:
        """How many input channels each row reads."""
        return self.shape[1 - self.dim]


@dataclass(frozen=True)
class Branch:
    """A residual branch that can be dropped."""

    end: str
    """The module that is replaced by zeros."""
    width_of: str
    """The layer whose output the zeros take the width of."""
    skipped: tuple[str, ...]
    """Layers outside ``end`` that nothing needs any more."""
    strides: tuple[int, ...]
    """Input size by output size of the branch, for each spatial dimension; empty for tokens."""
    rounds_up: bool
    """Whether an output size that does not divide is rounded up; a branch that pads its input itself rounds down."""
    groups: tuple[str, ...]
    """Names of the groups that go with it; the first one stands for the branch."""
    returns: tuple[tuple[str, int], ...] = ()
    """Of ``end`` and ``skipped``, those that return tuples, such as attention and its weights: of how many values."""


@dataclass(frozen=True)
class Group:
    """Coupled channels over several layers, named after the root layer."""

    name: str
    channels: int
    """How many channels (each perhaps several positions of a tensor) can be ranked and removed."""
    slices: tuple[Slice, ...]
    verification: Verification
    """``exact``: agreed with its masked twin to 1e-5; ``shape``: outputs keep their shape and stay finite."""
    stage: int
    """Index of the network's stage (same spatial resolution) that the root layer stands in, from 0."""
    branch: Branch | None = None
    """The residual branch that this group stands for; the type ``block`` drops it."""
    attributes: tuple[SizeAttribute, ...] = ()
    """Numbers of modules that shrink in proportion to the channels kept."""
    weights: tuple[Weight, ...] = ()
    """The weights that make the channels: what zeroing single weights works on."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Qualified names of the modules that the group touches, each once, in order."""
        return tuple(dict.fromkeys(s.layer for s in self.slices))

    def widths(self, multiple: int = 1) -> tuple[int, ...]:
        """Return the channel counts worth keeping: multiples of :meth:`step` and all channels, ascending."""
        if multiple < 1:
            raise ValueError(
                describe(f"channel multiple {multiple}", expected="1 or more", remedy="Correct the device.")
            )
        step = self.step(multiple)
        return (*range(step, self.channels, step), self.channels)

    def step(self, multiple: int) -> int:
        """Return by how many channels layers grow whose widths are multiples of ``multiple``.

        A head is many wide in each weight, so that any number of heads may do.
        """
        weights = [piece for piece in self.slices if "weight" in piece.tensor.rpartition(".")[2]]
        return multiple // math.gcd(multiple, math.gcd(*(len(piece.positions[0]) for piece in weights)) or 1)

    def width_near(self, sparsity: float, multiple: int = 1) -> int:
        """Return the width nearest to ``(1 - sparsity) * channels``; the smaller of two equally near ones."""
        if not 0 <= sparsity < 1:
            raise ValueError(
                describe(f"sparsity {sparsity}", expected="a number in [0, 1)", remedy="Say 0.5 to remove half.")
            )
        target = (1 - sparsity) * self.channels
        return min(self.widths(multiple), key=lambda width: abs(width - target))


@dataclass(frozen=True)
class FrozenGroup:
    """A group that may not be pruned, with the reason in words that a user understands."""

    name: str
    layers: tuple[str, ...]
    channels: int
    reason: str
    code: FreezeCode
    """Of the reason: what programs tell reasons apart by."""

    @classmethod
    def because(cls, reason: FreezeReason, name: str, layers: tuple[str, ...], channels: int) -> FrozenGroup:
        """Return the group frozen for ``reason``."""
        # A parameter outside of any layer stands for itself.
        named = tuple(dict.fromkeys(layer or name for layer in layers))
        return cls(name, named, channels, reason.words, reason.code)


@dataclass(frozen=True)
class Graph:
    """A traced network: its verified groups and its frozen ones."""

    groups: tuple[Group, ...]
    frozen: tuple[FrozenGroup, ...]
    fingerprint: str
    """Digest of the names, shapes and types of the network's parameters and buffers."""
    notes: tuple[str, ...] = ()
    """What was seen of the network's ways: where training mode, an example input or a decision runs other layers."""

    def group(self, name: str) -> Group:
        """Return the group called ``name``.

        Raises:
            UnknownNameError: there is none; near names are suggested.
        """
        for group in self.groups:
            if group.name == name:
                return group
        raise unknown_name("group", name, [group.name for group in self.groups])

    def __iter__(self) -> Iterator[Group]:
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)
