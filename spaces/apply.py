"""Applying a policy: slicing every tensor by cached rankings, without tracing again."""

from __future__ import annotations

from torch import nn

from ..errors import InputError, describe
from .fingerprint import fingerprint
from .groups import Graph
from .policy import Policy
from .pruning_types import PRUNING_TYPES
from .rankings import Rankings, Samples, rank
from .slicing import positions_of, without


def prune(
    model: nn.Module,
    graph: Graph,
    policy: Policy,
    *,
    rankings: Rankings | None = None,
    samples: Samples | None = None,
) -> nn.Module:
    """Return a smaller network; ``model`` is untouched and shares nothing with it.

    Args:
        model: the dense network that ``graph`` was traced from.
        graph: its trace.
        policy: what to remove.
        rankings: of the policy's criteria, computed once; without them they are computed here.
        samples: training data for criteria that need it, where ``rankings`` is not given.

    Raises:
        InputError: the policy belongs to another network, or names a group that the network has not.
        UnknownNameError: a pruning type or criterion is unknown.
    """
    _check(model, graph, policy)
    criteria = {c.criterion for c in policy.choices.values() if c.criterion is not None}
    known = rankings or rank(model, graph, sorted(criteria), samples=samples)
    removed = []
    for name, choice in policy.choices.items():
        group = graph.group(name)
        ranking = known.of(choice.criterion, name) if choice.criterion is not None else ()
        removed.append((group, PRUNING_TYPES.get(choice.type).removed(group, choice, ranking)))
    return without(model, positions_of(removed))


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
        if choice.of != graph.group(name).channels:
            raise InputError(
                describe(
                    f"group {name!r} of {choice.of} channels in the policy",
                    expected=f"{graph.group(name).channels} channels",
                    remedy="Make the policy from this network's graph.",
                )
            )
