"""Weights that are zero and stay zero: which, and how a sparse file would store the others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from .graph.groups import Graph, Group, Weight
from .graph.slicing import Positions, named_tensors
from .graph.weights import as_rows, from_rows
from .importance.criteria import CRITERIA
from .policy import Choice, Policy
from .pruning_types import PRUNING_TYPES
from .pruning_types.base import Amount

MAGNITUDE = "l1"
"""The criterion that stands for all those without scores of their own for single weights: the norm of one weight is its
magnitude."""
_SAME = {"taylor": "hessian"}
"""Criteria that rank single weights as another one does: the mean over samples of the squared product of gradient and
weight is, for one weight, twice the Fisher estimate."""


@runtime_checkable
class ScoresElements(Protocol):
    """A criterion that says what single weights are worth; the others leave that to the weights' magnitude."""

    def element_scores(self, tensor: torch.Tensor, squared_gradient: torch.Tensor) -> torch.Tensor:
        """Return one score for each weight, in the shape of ``tensor``: the higher, the more it is worth keeping.

        Args:
            tensor: the weight.
            squared_gradient: mean square of the gradients of single samples, in the same shape.
        """
        ...


@dataclass(frozen=True)
class Mask:
    """The zeros of one weight, and the encoding that stores the rest."""

    zeroed: torch.Tensor
    """Booleans in the weight's shape: true where it is zero."""
    dim: int
    """The dimension of the outputs."""
    pattern: Amount | None
    """N and M where the whole weight is N:M; ``None`` where a bitmap says which weights are stored."""

    def stored_bits(self, element_bits: int) -> int:
        """Return the bits of the weight's elements as encoded, or as they are where that is less.

        N:M: the N values of each block, each with its place of ceil(log2 M) bits, and the values beyond the last whole
        block. Else: one bit for each weight, and the values that are not zero.
        """
        count = self.zeroed.numel()
        if self.pattern is None:
            encoded = count + element_bits * (count - int(self.zeroed.sum()))
        else:
            n, m = self.pattern
            inputs = self.zeroed.shape[1 - self.dim]
            rows = count // inputs
            blocks, beyond = rows * (inputs // m), rows * (inputs % m)
            encoded = blocks * n * (element_bits + math.ceil(math.log2(m))) + beyond * element_bits
        return min(encoded, count * element_bits)


@dataclass(frozen=True)
class Masks:
    """Masks by the names of the weights."""

    of: Mapping[str, Mask] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.of)

    def zero_(self, model: nn.Module) -> None:
        """Set the masked weights to zero, in place."""
        with torch.no_grad():
            for tensor, mask in self._pairs(model):
                tensor.masked_fill_(mask.zeroed, 0)

    def zero_gradients_(self, model: nn.Module) -> None:
        """Set the gradients of the masked weights to zero, in place: they count in no norm and move no momentum."""
        for tensor, mask in self._pairs(model):
            if tensor.grad is not None:
                tensor.grad.masked_fill_(mask.zeroed, 0)

    def hold(self, model: nn.Module) -> bool:
        """Return whether all masked weights are zero."""
        return not any(bool(tensor.detach()[mask.zeroed].any()) for tensor, mask in self._pairs(model))

    def saved_bytes(self, element_bytes: int) -> int:
        """Return by how much the stated encoding is smaller than storing every element."""
        bits = 8 * element_bytes
        return sum(m.zeroed.numel() * element_bytes - math.ceil(m.stored_bits(bits) / 8) for m in self.of.values())

    def _pairs(self, model: nn.Module) -> Iterator[tuple[torch.Tensor, Mask]]:
        parameters = dict(model.named_parameters(remove_duplicate=False))
        return ((parameters[name], mask) for name, mask in self.of.items())


NO_MASKS = Masks()


def element_criterion(name: str) -> str:
    """Return the criterion that ranks single weights where ``name`` is asked for: its like for them, or magnitude."""
    criterion = CRITERIA.get(_SAME.get(name, name))
    return _SAME.get(name, name) if isinstance(criterion, ScoresElements) else MAGNITUDE


def needs_squared_gradients(policy: Policy) -> bool:
    """Return whether squared gradients decide which single weights ``policy`` takes out."""
    return any(
        PRUNING_TYPES.get(c.type).zeroes and element_criterion(c.criterion or MAGNITUDE) != MAGNITUDE
        for c in policy.choices.values()
    )


def masks_of(model: nn.Module, graph: Graph, policy: Policy) -> Masks:
    """Return the masks of a pruned network, from its own zeros.

    Args:
        model: what ``policy`` made of the network, with any weights since: fine-tuned, saved or loaded.
        graph: of the dense network.
        policy: says which weights are masked at all; zeros elsewhere are no one's promise.
    """
    tensors = named_tensors(model)
    return Masks(
        {
            name: Mask(tensors[name].detach() == 0, claims[0][0].dim, _pattern(claims))
            for name, claims in _claims(graph, policy).items()
        }
    )


def broken_promises(model: nn.Module, graph: Graph, policy: Policy) -> tuple[str, ...]:
    """Return the weights of a pruned network that are not as sparse as ``policy`` says.

    Of a weight from which another group's rows were cut, which rows are left cannot be told, and it is not looked at.
    """
    tensors = named_tensors(model)
    broken = []
    for name, claims in _claims(graph, policy).items():
        for weight, _, choice in claims:
            tensor = tensors[name].detach()
            if tensor.shape[weight.dim] != weight.shape[weight.dim]:
                continue
            rows = as_rows(tensor.abs(), weight.dim)[list(weight.rows)]
            if bool(rows[~PRUNING_TYPES.get(choice.type).kept_weights(rows, choice)].any()):
                broken.append(name)
    return tuple(dict.fromkeys(broken))


def zero_weights_(
    pruned: nn.Module,
    dense: nn.Module,
    graph: Graph,
    policy: Policy,
    *,
    sliced: Positions,
    squared_gradients: Mapping[str, torch.Tensor],
) -> None:
    """Zero the weights that ``policy`` wants zero, in place.

    Args:
        pruned: the network after its channels were removed.
        dense: the network as it was; its weights decide.
        graph: its trace.
        policy: what to remove.
        sliced: what was cut from ``dense`` to make ``pruned``.
        squared_gradients: mean squares of the gradients of single samples, by the names of the dense network's
            parameters; criteria that score single weights by them fall back to magnitude where one is absent.
    """
    own, whole = named_tensors(pruned), named_tensors(dense)
    for name, claims in _claims(graph, policy).items():
        for weight, _, choice in claims:
            scores = _cut(_scores(choice, whole[name], squared_gradients.get(name)), name, sliced)
            rows = _cut_vector(_owned(weight), sliced.get((name, weight.dim), set()))
            found = as_rows(scores, weight.dim)
            kept = torch.ones_like(found, dtype=torch.bool)
            kept[rows] = PRUNING_TYPES.get(choice.type).kept_weights(found[rows], choice)
            mask = from_rows(kept, weight.dim, own[name].shape)
            with torch.no_grad():
                own[name].masked_fill_(~mask, 0)


def _claims(graph: Graph, policy: Policy) -> dict[str, list[tuple[Weight, Group, Choice]]]:
    """Return, for each weight that is masked, by which groups and how."""
    found: dict[str, list[tuple[Weight, Group, Choice]]] = {}
    for name, choice in policy.choices.items():
        if PRUNING_TYPES.get(choice.type).zeroes:
            group = graph.group(name)
            for weight in group.weights:
                found.setdefault(weight.tensor, []).append((weight, group, choice))
    return found


def _pattern(claims: list[tuple[Weight, Group, Choice]]) -> Amount | None:
    patterns = {(c.kept, c.of) if c.type == "nm" else None for _, _, c in claims}
    rows = {row for weight, _, _ in claims for row in weight.rows}
    weight = claims[0][0]
    # Of a weight that is N:M in part only, N:M stores nothing.
    return patterns.pop() if len(patterns) == 1 and len(rows) == weight.shape[weight.dim] else None


def _scores(choice: Choice, tensor: torch.Tensor, squared_gradient: torch.Tensor | None) -> torch.Tensor:
    criterion = CRITERIA.get(element_criterion(choice.criterion or MAGNITUDE))
    if squared_gradient is not None and isinstance(criterion, ScoresElements):
        return criterion.element_scores(tensor.detach(), squared_gradient)
    return tensor.detach().abs()


def _owned(weight: Weight) -> torch.Tensor:
    owned = torch.zeros(weight.shape[weight.dim], dtype=torch.bool)
    owned[list(weight.rows)] = True
    return owned


def _cut(tensor: torch.Tensor, name: str, sliced: Positions) -> torch.Tensor:
    for (owner, dim), gone in sliced.items():
        if owner == name and gone:
            kept = torch.ones(tensor.shape[dim], dtype=torch.bool)
            kept[sorted(gone)] = False
            tensor = tensor.index_select(dim, kept.nonzero().flatten())
    return tensor


def _cut_vector(vector: torch.Tensor, gone: set[int]) -> torch.Tensor:
    return _cut(vector, "", {("", 0): gone})
