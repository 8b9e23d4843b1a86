"""Weights that a smaller network takes over from a larger one that was fine-tuned already.

Training then compounds along a path of shrinking networks, as in iterative pruning (Han et al., "Learning both Weights
and Connections for Efficient Neural Networks", NeurIPS 2015, arXiv:1506.02626).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from ..errors import InputError, describe
from .graph.copying import copied
from .graph.groups import Graph
from .graph.slicing import Positions, forget, named_tensors, positions_of
from .importance.rankings import Rankings
from .policy import Choice, Policy
from .pruning_types import PRUNING_TYPES


def may_inherit(graph: Graph, child: Policy, parent: Policy, rankings: Rankings) -> bool:
    """Return whether all that ``child`` keeps is in ``parent``, so that it can take over the weights from there.

    Precision does not matter: weights are trained at fp32. Single weights are zeroed in the same way or not at all, as
    a zero that was trained around is worth nothing to a network that keeps it.
    """
    return all(
        _covers(graph, name, child.choices.get(name), choice, rankings)
        for name, choice in parent.choices.items()
        if choice.type != "none"
    )


def _covers(graph: Graph, name: str, child: Choice | None, parent: Choice, rankings: Rankings) -> bool:
    if child is None:
        return False
    if parent.type == "block" or PRUNING_TYPES.get(parent.type).zeroes:
        return child == parent
    if child.type == "block":
        return True
    return set(removed_channels(graph, name, parent, rankings)) <= set(removed_channels(graph, name, child, rankings))


def removed_channels(graph: Graph, name: str, choice: Choice, rankings: Rankings) -> tuple[int, ...]:
    """Return the channels that ``choice`` removes from the group ``name``."""
    kind = PRUNING_TYPES.get(choice.type)
    ranked = choice.criterion is not None and not kind.zeroes
    return kind.removed(graph.group(name), choice, rankings.of(str(choice.criterion), name) if ranked else ())


def with_inherited(
    dense: nn.Module, graph: Graph, parent: Policy, weights: Mapping[str, torch.Tensor], *, rankings: Rankings
) -> nn.Module:
    """Return a copy of ``dense`` that holds a pruned network's weights wherever that network has any.

    Pruned by any policy that may inherit, it gives that policy's network with the pruned network's weights.

    Args:
        dense: the network that ``graph`` was traced from; left as it is.
        graph: its trace.
        parent: what the pruned network was made by.
        weights: of the pruned network; tensors that it lacks, such as those of dropped branches, stay the dense ones.
        rankings: by which it was pruned.

    Raises:
        InputError: a tensor has not the shape that ``parent`` leaves it.
    """
    gone = positions_of((graph.group(n), removed_channels(graph, n, c, rankings)) for n, c in parent.choices.items())
    whole = copied(dense)
    forget(whole)
    with torch.no_grad():
        for name, tensor in named_tensors(whole).items():
            if name in weights:
                _put(tensor, weights[name], name, gone)
    return whole


def _put(whole: torch.Tensor, part: torch.Tensor, name: str, gone: Positions) -> None:
    places = [_kept(size, gone.get((name, dim), ())) for dim, size in enumerate(whole.shape)]
    expected = tuple(len(place) for place in places)
    if tuple(part.shape) != expected:
        raise InputError(
            describe(
                f"{name} of shape {tuple(part.shape)}",
                expected=f"{expected}, what the policy leaves of {tuple(whole.shape)}",
                remedy="Give the weights of the network that this policy made.",
            )
        )
    if not places:
        whole.copy_(part)
    else:
        whole[torch.meshgrid(*places, indexing="ij")] = part.to(whole)


def _kept(size: int, gone: Sequence[int] | set[int]) -> torch.Tensor:
    kept = torch.ones(size, dtype=torch.bool)
    if gone:
        kept[sorted(gone)] = False
    return kept.nonzero().flatten()
