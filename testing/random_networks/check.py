"""What every random network must stand: traced, pruned in several ways, run in both modes, exported to ONNX."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from random import Random

import torch
from torch import nn

from ...spaces.apply import prune
from ...spaces.graph.groups import Graph
from ...spaces.graph.random_numbers import seeded
from ...spaces.graph.slicing import positions_of, zeroed
from ...spaces.graph.trace import trace
from ...spaces.importance.rankings import Rankings, rank
from ...spaces.policy import Choice, Policy
from ..architectures import unlisted_weights
from .network import random_network
from .onnx_check import check_export, exportable
from .written_outputs import Written, distance, written

_TOLERANCE = 1e-5
"""Largest difference of a network and its masked twin, in double precision, relative to the output's largest value."""


@dataclass(frozen=True)
class Checked:
    """What was seen of a network that stood the check."""

    graph: Graph
    policies: tuple[Policy, ...]
    exported: bool
    """Whether the dense network can be exported to ONNX."""


def check_random_network(seed: int, *, depth: int = 8) -> Checked:
    """Trace the network of a seed, prune it in several ways, and try each pruned network.

    Args:
        seed: as of :func:`~.network.random_network`.
        depth: likewise.

    Raises:
        AssertionError: something is not as promised; the seed and the fault are named.
    """
    try:
        return _checked(seed, depth)
    except Exception as error:
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        raise AssertionError(f"random network {seed} of depth {depth}: {kind}{error}") from error


def _checked(seed: int, depth: int) -> Checked:
    model = random_network(seed, depth=depth)
    given = _state(model)
    graph = trace(model, model.example_input)
    _check_lists(model, graph)
    probe = torch.randn(3, *model.shape, generator=torch.Generator().manual_seed(seed))
    rankings, policies = _policies(model, graph, Random(seed))
    exported = exportable(model, probe[:1])
    for name, policy in policies.items():
        small = prune(model, graph, policy, rankings=rankings)
        for training in (False, True):
            mode = "training" if training else "eval"
            _check_outputs(model, small, probe, training=training, where=f"{name}, {mode} mode")
        if exported and name != "at most":
            check_export(small, probe[:1], where=name)
    _check_twins(model, graph, rankings, probe, Random(seed))
    assert _state(model) == given, "the network given is changed"
    return Checked(graph, tuple(policies.values()), exported)


def _state(model: nn.Module) -> dict[str, object]:
    """Return all that a network holds, in a form that compares by value."""
    found: dict[str, object] = {name: (t.dtype, t.tolist()) for name, t in model.state_dict().items()}
    for name, module in model.named_modules():
        plain = {k: v for k, v in vars(module).items() if isinstance(v, bool | int | float | str | tuple)}
        hooks = len(module._forward_hooks) + len(module._forward_pre_hooks)
        found[f"module {name}"] = (plain, hooks, sorted(vars(module)))
    return found


def _check_lists(model: nn.Module, graph: Graph) -> None:
    assert not (unlisted := unlisted_weights(model, graph)), f"in no group and not frozen: {unlisted}"
    for frozen in graph.frozen:
        assert frozen.code, f"{frozen.name} is frozen without a code"
        assert frozen.reason, f"{frozen.name} is frozen without a reason"


def _policies(model: nn.Module, graph: Graph, draw: Random) -> tuple[Rankings, dict[str, Policy]]:
    """Return ways of pruning by name; every branch that is offered is dropped in one of them."""
    orders = {g.name: tuple(draw.sample(range(g.channels), g.channels)) for g in graph}
    rankings = Rankings({**rank(model, graph, ("l2",)).order, "random": orders})
    policies = {
        "half": Policy.uniform(graph, 0.5),
        "at most": Policy.from_kept(graph, {g.name: 1 for g in graph}),
        "at random": Policy.of(graph, {g.name: _choice(draw, g.channels) for g in graph}),
    }
    branches = [g.name for g in graph if g.branch is not None]
    if branches:
        policies["all branches dropped"] = Policy.of(graph, dict.fromkeys(branches, _DROPPED))
        some = {n for n in branches if draw.random() < 0.5} or {branches[0]}
        mixed = {g.name: _DROPPED if g.name in some else _choice(draw, g.channels) for g in graph}
        policies["at random with branches dropped"] = Policy.of(graph, mixed)
    return rankings, policies


_DROPPED = Choice("block", None, 0, 1)


def _choice(draw: Random, channels: int) -> Choice:
    return Choice.channel(kept=draw.randint(1, channels), of=channels, criterion="random")


def _check_outputs(dense: nn.Module, small: nn.Module, probe: torch.Tensor, *, training: bool, where: str) -> None:
    wanted, wanted_gradients = _run(dense, probe, training=training)
    found, gradients = _run(small, probe, training=training)
    assert [w.form for w in found] == [w.form for w in wanted], f"{where}: the outputs' form changed"
    for one, other in zip(found, wanted, strict=True):
        sound = bool(one.tensor.isfinite().all()) or not bool(other.tensor.isfinite().all())
        assert sound, f"{where}: output {one.place} is not finite"
    assert (gradients is None) == (wanted_gradients is None), f"{where}: one network alone runs backwards"
    if gradients is not None and wanted_gradients is not None and _finite(wanted_gradients):
        assert gradients, f"{where}: no weight has a gradient"
        assert _finite(gradients), f"{where}: gradients are not finite"


def _run(model: nn.Module, probe: torch.Tensor, *, training: bool) -> tuple[list[Written], list[torch.Tensor] | None]:
    """Return a copy's outputs, and its weights' gradients; ``None`` where outputs have none or it cannot run backwards.

    A dense network that overwrites in place what its gradient needs cannot, so that no pruned one is asked to.
    """
    network = copy.deepcopy(model).train(training)
    with seeded():
        found = written(network(probe))
        parts = [w.tensor.square().mean() for w in found if w.tensor.requires_grad]
        if not parts:
            return found, None
        try:
            torch.stack(parts).sum().backward()
        except RuntimeError:
            return found, None
    return found, [p.grad for p in network.parameters() if p.grad is not None]


def _finite(tensors: list[torch.Tensor]) -> bool:
    return all(bool(t.isfinite().all()) for t in tensors)


def _check_twins(dense: nn.Module, graph: Graph, rankings: Rankings, probe: torch.Tensor, draw: Random) -> None:
    """Compare with masked twins in double precision, where only what is wrong differs, not what is rounded."""
    noisy, orders = _noisy(dense, draw), rankings.order["random"]
    exact = [g for g in graph if g.verification == "exact"]
    for least in (False, True):
        kept = {g.name: 1 if least else draw.randint(1, g.channels) for g in exact}
        policy = Policy.from_kept(graph, kept, criterion="random")
        small = prune(noisy, graph, policy, rankings=rankings).double()
        twin = zeroed(noisy, positions_of((g, orders[g.name][kept[g.name] :]) for g in exact)).double()
        with seeded(), torch.no_grad():
            pairs = zip(written(small(probe.double())), written(twin(probe.double())), strict=True)
        for found, wanted in pairs:
            apart = distance(found.tensor, wanted.tensor)
            assert apart <= _TOLERANCE, f"with {kept} kept, output {found.place} is {apart:.1e} off its masked twin's"


def _noisy(dense: nn.Module, draw: Random) -> nn.Module:
    """Return a copy with shifted weights: equal ones, as norms begin with, would hide a mistake."""
    noisy = copy.deepcopy(dense)
    generator = torch.Generator().manual_seed(draw.randrange(1 << 16))
    with torch.no_grad():
        for parameter in noisy.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return noisy
