"""From a network to the groups of channels that can be removed from it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ...errors import InputError, describe
from ..architectures.attention import with_proved_heads
from ..architectures.branches import with_branches
from ..architectures.recurrent import without_projected
from ..inputs import Inputs, call
from .candidates import candidates, explained, split_parts
from .copying import copied
from .fingerprint import fingerprint
from .following import follow_all
from .freeze_reasons import FreezeCode
from .groups import FrozenGroup, Graph, Group
from .outputs import check_seen
from .plain_network import check_plain
from .quantisation_aware import tie_observed
from .random_numbers import seeded
from .stages import stages, watch_sizes
from .unlisted import unlisted
from .unmixed import without_moved
from .verification import MaskOracle
from .weights import with_weights


def trace(model: nn.Module, example_input: Inputs | list[Inputs], *, freeze: Sequence[str] = ()) -> Graph:
    """Find what can be pruned, and verify it.

    Every group returned has been pruned on a copy and compared with the masked original, so that any policy over
    ``graph.groups`` gives a network that runs, keeps every output's shape and can be fine-tuned and exported: on each
    example input, in training mode too, and on the ways that the network takes where it is made to decide otherwise.

    Args:
        model: the network; it is left as it is, and so are all global random generators.
        example_input: a tensor, a tuple of arguments or a dict of them, with a batch of 1; a list is of several such
            inputs, which together should take all ways that the network has.
        freeze: qualified names of layers never to prune; a container's name freezes all layers in it.

    Raises:
        InputError: the network cannot be copied or cut as it is, it fails on an example input or returns something in
            which no tensor is seen, or ``freeze`` names no layer of it.
    """
    check_plain(model)
    # What depends on what is told by gradients, whatever the caller has switched off.
    with seeded(), torch.inference_mode(False), torch.enable_grad():
        return _trace(model, _examples(example_input), freeze)


def _trace(model: nn.Module, examples: Sequence[Inputs], freeze: Sequence[str]) -> Graph:
    names = [f"example input {n}" for n in range(1, len(examples) + 1)] if len(examples) > 1 else ["the example input"]
    sizes, *_ = [_check_forward(model, example, name) for example, name in zip(examples, names, strict=True)]
    frozen_layers = _layers_under(model, freeze)
    oracle = MaskOracle.of(model, examples[0])
    followed = follow_all(model, examples, oracle.inputs)
    tracker = followed.tracker
    tie_observed(model, tracker)
    found, frozen, whole = candidates(model, tracker, stages=stages(sizes), freeze=frozen_layers)
    found, projected = without_projected(model, found)
    found, whole, unread = _readable(followed.unread, found, whole)
    oracle.parts, oracle.passes = split_parts(found, tracker), followed.passes
    groups, failed = oracle.judge(found, whole)
    failed = explained(found, failed, tracker)
    groups, moved = without_moved(groups, tracker, oracle)
    groups = with_proved_heads(model, groups, oracle.objection)
    groups = with_branches(oracle.model, groups, oracle, oracle.quick)
    frozen = [*frozen, *projected, *unread, *failed, *moved]
    frozen += unlisted(model, tracker, groups, frozen)
    return Graph(with_weights(model, groups), tuple(frozen), fingerprint(model), followed.notes)


def _examples(example_input: Inputs | list[Inputs]) -> list[Inputs]:
    """Return the example inputs, one or several.

    Raises:
        InputError: an empty list.
    """
    examples = example_input if isinstance(example_input, list) else [example_input]
    if not examples:
        raise InputError(
            describe(
                "an empty list of example inputs",
                expected="at least one",
                remedy="Give a tensor, a tuple of arguments or a dict of them, or a list of several such inputs.",
            )
        )
    return examples


def _readable(
    unread: Sequence[str], groups: list[Group], whole: list[Group]
) -> tuple[list[Group], list[Group], list[FrozenGroup]]:
    """Freeze all groups where layers that never ran may read any of them."""
    if not unread:
        return groups, whole, []
    reason = FreezeCode.UNREAD.because(layers=", ".join(unread[:3]))
    return [], [], [FrozenGroup.because(reason, g.name, g.layers, g.channels) for g in (*groups, *whole)]


def _check_forward(model: nn.Module, example_input: Inputs, name: str) -> dict[str, int]:
    """Check that the network runs; return how many positions each layer's output has."""
    probe = copied(model).eval()
    sizes = watch_sizes(probe)
    try:
        with torch.no_grad():
            outputs = call(probe, example_input)
    except Exception as error:
        raise InputError(
            describe(
                f"the network fails on {name}: {type(error).__name__}: {error}",
                expected="a forward pass that succeeds",
                remedy="Give an example input of the shape and type that the network takes, with a batch of 1.",
            )
        ) from error
    check_seen(outputs)
    return sizes


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
