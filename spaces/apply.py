"""Applying a policy: slicing every tensor by cached rankings, without tracing again, and zeroing single weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from ..errors import InputError, describe
from .architectures.branches import drop_
from .graph.fingerprint import fingerprint
from .graph.groups import Graph
from .graph.slicing import positions_of, without
from .importance.rankings import Rankings, Samples, rank
from .inheritance import removed_channels
from .masks import zero_weights_
from .policy import Policy
from .pruning_types import PRUNING_TYPES


def prune(
    model: nn.Module,
    graph: Graph,
    policy: Policy,
    *,
    rankings: Rankings | None = None,
    samples: Samples | None = None,
    squared_gradients: Mapping[str, torch.Tensor] | None = None,
) -> nn.Module:
    """Return a smaller network; ``model`` is untouched and shares nothing with it.

    Weights that the types ``nm`` and ``weight`` take out are zeros in it, chosen among what is left once the channels
    are gone; :func:`~espalier.spaces.masks.masks_of` keeps them zero.

    Args:
        model: the dense network that ``graph`` was traced from.
        graph: its trace.
        policy: what to remove.
        rankings: of the policy's criteria, computed once; without them they are computed here.
        samples: training data for criteria that need it, where ``rankings`` is not given.
        squared_gradients: mean squares of the gradients of single samples, by parameter name, for criteria that rank
            single weights by them; without them the weights' magnitude decides.

    Raises:
        InputError: the policy belongs to another network, or names a group that the network has not.
        UnknownNameError: a pruning type or criterion is unknown.
    """
    _check(model, graph, policy)
    criteria = {c.criterion for c in policy.choices.values() if c.criterion and not PRUNING_TYPES.get(c.type).zeroes}
    known = rankings or rank(model, graph, sorted(criteria), samples=samples)
    removed = []
    for name, choice in policy.choices.items():
        removed.append((graph.group(name), removed_channels(graph, name, choice, known)))
    pruned = without(model, removed)
    if any(PRUNING_TYPES.get(c.type).zeroes for c in policy.choices.values()):
        squares = squared_gradients or {}
        zero_weights_(pruned, model, graph, policy, sliced=positions_of(removed), squared_gradients=squares)
    dropped = (graph.group(name).branch for name, choice in policy.choices.items() if choice.type == "block")
    drop_(pruned, [branch for branch in dropped if branch is not None])
    return pruned


def _check(model: nn.Module, graph: Graph, policy: Policy) -> None:
    found = fingerprint(model)
    for owner, expected in (("policy", policy.model_fingerprint), ("graph", graph.fingerprint)):
        if expected != found:
            raise InputError(
                describe(
                    f"the {owner} was made for a network with fingerprint {expected}",
                    expected=found,
                    remedy="Use the dense network that was traced.",
                )
            )
    for name, choice in policy.choices.items():
        PRUNING_TYPES.get(choice.type).check(graph.group(name), choice)
