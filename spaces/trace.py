"""From a network to the groups of channels that can be removed from it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..errors import InputError, describe
from .attention import free_heads_, with_proved_heads
from .branches import with_branches
from .candidates import candidates, explained, split_parts
from .copying import copied
from .coupling import track
from .fingerprint import fingerprint
from .groups import Graph
from .inputs import Inputs, call
from .plain_network import check_plain
from .quantisation_aware import follow_scales_, tie_observed
from .recurrent import spell_out_, without_projected
from .slicing import forget
from .stages import stages
from .unlisted import unlisted
from .unmixed import without_moved
from .verification import MaskOracle
from .weights import with_weights


def trace(model: nn.Module, example_input: Inputs, *, freeze: Sequence[str] = ()) -> Graph:
    """Find what can be pruned, and verify it.

    Every group returned has been pruned on a copy and compared with the masked original, so that any policy over
    ``graph.groups`` gives a network that runs, keeps every output's shape and can be fine-tuned and exported.

    Args:
        model: the network; it is left as it is.
        example_input: a tensor, a tuple of arguments or a dict of them, with a batch of 1.
        freeze: qualified names of layers never to prune; a container's name freezes all layers in it.

    Raises:
        InputError: the network cannot be copied or cut as it is, it fails on ``example_input``, or ``freeze`` names no
            layer of it.
    """
    check_plain(model)
    _check_forward(model, example_input)
    frozen_layers = _layers_under(model, freeze)
    followed = copied(model)
    forget(followed)
    for module in followed.modules():
        free_heads_(module)
        spell_out_(module)
    follow_scales_(followed)
    tracker = track(followed.eval(), example_input)
    tie_observed(model, tracker)
    found, frozen, whole = candidates(model, tracker, stages=stages(model, example_input), freeze=frozen_layers)
    found, projected = without_projected(model, found)
    oracle = MaskOracle.of(model, example_input, split_parts(found, tracker))
    groups, failed = oracle.judge(found, whole)
    failed = explained(found, failed, tracker)
    groups, moved = without_moved(groups, tracker, oracle)
    groups = with_proved_heads(model, groups, oracle.objection)
    groups = with_branches(oracle.model, oracle.inputs, groups, oracle.difference)
    frozen = [*frozen, *projected, *failed, *moved]
    frozen += unlisted(model, tracker, groups, frozen)
    return Graph(with_weights(model, groups), tuple(frozen), fingerprint(model))


def _check_forward(model: nn.Module, example_input: Inputs) -> None:
    probe = copied(model).eval()
    try:
        with torch.no_grad():
            call(probe, example_input)
    except Exception as error:
        raise InputError(
            describe(
                f"the network fails on the example input: {type(error).__name__}: {error}",
                expected="a forward pass that succeeds",
                remedy="Give an example input of the shape and type that the network takes, with a batch of 1.",
            )
        ) from error


def _layers_under(model: nn.Module, names: Sequence[str]) -> frozenset[str]:
    layers = [name for name, _ in model.named_modules()]
    unknown = [name for name in names if name not in layers]
    if unknown:
        raise InputError(
            describe(
                f"freeze names {', '.join(map(repr, unknown))}",
                expected="names of layers of the network",
                remedy="List them with dict(model.named_modules()).",
            )
        )
    return frozenset(layer for layer in layers for name in names if layer == name or layer.startswith(f"{name}."))
