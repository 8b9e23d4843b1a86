"""The contract of a network that is pruned, as tests: subclass :class:`ArchitectureContract` and bring your network.

For the author of a new kind of network, of a rule for an operation, or of a repair.

class TestMine(ArchitectureContract):
    example_input = torch.zeros(1, 3, 32, 32)
    expected_groups = {"conv1": 16, "conv2": 32}  # may be left out

    @classmethod
    def model(cls):
        return MyNetwork()
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_structure

from ..evaluators.onnx.onnx_export import export_onnx, onnx_feed
from ..evaluators.weights_file import load_weights, save_weights
from ..spaces.apply import prune
from ..spaces.graph.fingerprint import fingerprint
from ..spaces.graph.groups import Graph, layer_of
from ..spaces.graph.slicing import named_tensors, positions_of, zeroed
from ..spaces.graph.trace import trace
from ..spaces.graph.verification import TOLERANCE
from ..spaces.importance.rankings import Rankings, rank
from ..spaces.inputs import Inputs, call, map_tensors, random_like, tensors_of
from ..spaces.policy import Policy
from .pruning_types import PARITY, contract_network

LEVELS = 12
"""Steps between removing one multiple and keeping one, both tried: as many as tell a width that fails."""


class ArchitectureContract:
    """What every network must do: all that :func:`~espalier.spaces.graph.trace.trace` offers prunes by any amount."""

    example_input: Inputs
    """A tensor, a tuple of arguments or a dict of them, with a batch of 1."""
    batch: ClassVar[int] = 3
    """Samples of the random inputs that networks are compared on."""
    channel_multiples: ClassVar[tuple[int, ...]] = (1, 8)
    """Widths are taken in steps of each."""
    expected_groups: ClassVar[Mapping[str, int] | None] = None
    """Channels by group, found by hand; ``None`` where nobody has."""
    expected_frozen: ClassVar[frozenset[str] | None] = None
    """Frozen groups besides the network's outputs, found by hand; ``None`` where nobody has."""

    @classmethod
    def model(cls) -> nn.Module:
        """Return the network; drawn weights need no seed of their own."""
        raise NotImplementedError("a subclass returns its network here")

    @pytest.fixture(scope="class")
    @classmethod
    def dense(cls) -> nn.Module:
        """Return the network that is pruned, seeded and in eval mode; tests must leave it as it is."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return cls.model().eval()

    @pytest.fixture(scope="class")
    @classmethod
    def graph(cls, dense: nn.Module) -> Graph:
        """Return the network's trace."""
        return trace(dense, cls.example_input)

    @pytest.fixture(scope="class")
    @classmethod
    def rankings(cls, dense: nn.Module, graph: Graph) -> Rankings:
        """Return a ranking by magnitude."""
        return rank(dense, graph, ("l2",))

    def test_the_groups_are_those_found_by_hand(self, graph: Graph) -> None:
        assert len(graph) > 0, [frozen.reason for frozen in graph.frozen]
        if self.expected_groups is not None:
            assert {group.name: group.channels for group in graph} == dict(self.expected_groups)
        if self.expected_frozen is not None:
            inner = {frozen.name for frozen in graph.frozen if not frozen.code.is_output}
            assert inner == self.expected_frozen

    def test_what_is_frozen_has_a_reason(self, graph: Graph) -> None:
        assert all(frozen.reason and frozen.code and frozen.channels > 0 for frozen in graph.frozen)

    def test_every_weight_is_in_a_group_or_frozen(self, dense: nn.Module, graph: Graph) -> None:
        assert unlisted_weights(dense, graph) == []

    def test_a_pruned_network_equals_its_masked_twin(self, dense: nn.Module, graph: Graph) -> None:
        generator = torch.Generator().manual_seed(1)
        noisy = _noisy(dense, generator)
        probe = self._probe(2)
        exact = [group for group in graph if group.verification == "exact"]
        for groups in [*([group] for group in exact), exact]:
            for share in (0.3, 1.0):
                orders = {g.name: tuple(torch.randperm(g.channels, generator=generator).tolist()) for g in graph}
                kept = {g.name: g.channels - max(1, int(share * (g.channels - 1))) for g in groups}
                policy = Policy.from_kept(graph, kept, criterion="random")
                small = prune(noisy, graph, policy, rankings=Rankings({"random": orders}))
                twin = zeroed(noisy, positions_of((g, orders[g.name][kept[g.name] :]) for g in groups))
                assert _difference(small, twin, probe) <= TOLERANCE, kept

    def test_every_sparsity_keeps_the_outputs_and_trains(
        self, dense: nn.Module, graph: Graph, rankings: Rankings
    ) -> None:
        probe = self._probe(3)
        with torch.no_grad():
            expected = call(dense, probe)
        for kept in self._all_widths(graph):
            small = prune(dense, graph, Policy.from_kept(graph, kept), rankings=rankings)
            outputs = call(small, probe)
            assert tree_structure(outputs) == tree_structure(expected), kept
            assert [t.shape for t in tensors_of(outputs)] == [t.shape for t in tensors_of(expected)], kept
            assert all(bool(torch.isfinite(t).all()) for t in tensors_of(outputs) if t.is_floating_point()), kept
            _check_gradients(small, tensors_of(outputs))
            if kept:
                assert _params(small) < _params(dense), kept

    def test_weights_are_saved_and_loaded(
        self, dense: nn.Module, graph: Graph, rankings: Rankings, tmp_path: Path
    ) -> None:
        policy = Policy.uniform(graph, 0.5)
        small = prune(dense, graph, policy, rankings=rankings)
        with torch.no_grad():
            for parameter in small.parameters():
                parameter += 0.1
        save_weights(small, tmp_path / "small.safetensors")
        again = prune(dense, graph, policy, rankings=rankings)
        load_weights(again, tmp_path / "small.safetensors")
        assert _difference(again, small, self._probe(4)) == 0
        assert fingerprint(again) == fingerprint(small) != fingerprint(dense)

    def test_the_exported_onnx_computes_the_same(self, dense: nn.Module, graph: Graph, rankings: Rankings) -> None:
        from onnxruntime import InferenceSession

        small = prune(dense, graph, Policy.uniform(graph, 0.5), rankings=rankings)
        example = random_like(self.example_input, torch.Generator().manual_seed(5), batch=1)
        session = InferenceSession(export_onnx(small, example), providers=["CPUExecutionProvider"])
        with torch.no_grad():
            expected = tensors_of(call(small, example))
        for found, wanted in zip(session.run(None, onnx_feed(example)), expected, strict=True):
            scale = float(wanted.abs().max()) or 1.0
            assert np.abs(np.asarray(found) - wanted.numpy()).max() <= PARITY * scale

    def test_the_given_network_stays_as_it_was_and_shares_nothing(
        self, dense: nn.Module, graph: Graph, rankings: Rankings
    ) -> None:
        before, plain = copy.deepcopy(dense.state_dict()), _plain_attributes(dense)
        first, second = (prune(dense, graph, Policy.uniform(graph, 0.5), rankings=rankings) for _ in range(2))
        assert _storages(dense).isdisjoint(_storages(first) | _storages(second))
        assert _storages(first).isdisjoint(_storages(second))
        with torch.no_grad():
            for tensor in named_tensors(first).values():
                tensor.zero_()
        assert all(torch.equal(before[name], tensor) for name, tensor in dense.state_dict().items())
        assert _plain_attributes(dense) == plain

    def test_a_trace_leaves_no_trace(self, dense: nn.Module, graph: Graph) -> None:
        before, plain, hooks = copy.deepcopy(dense.state_dict()), _plain_attributes(dense), _hooks(dense)
        trace(contract_network(), torch.zeros(1, 3, 8, 8))
        assert trace(dense, self.example_input) == graph
        assert all(torch.equal(before[name], tensor) for name, tensor in dense.state_dict().items())
        assert _plain_attributes(dense) == plain
        assert _hooks(dense) == hooks

    def test_a_policy_is_the_same_after_json(self, dense: nn.Module, graph: Graph, rankings: Rankings) -> None:
        policy = Policy.uniform(graph, 0.5)
        again = Policy.from_json(policy.to_json())
        assert again == policy
        small, same = (prune(dense, graph, p, rankings=rankings) for p in (policy, again))
        assert _difference(small, same, self._probe(6)) == 0

    @classmethod
    def _probe(cls, seed: int) -> Inputs:
        return random_like(cls.example_input, torch.Generator().manual_seed(seed), batch=cls.batch)

    @classmethod
    def _all_widths(cls, graph: Graph) -> Iterator[dict[str, int]]:
        """Yield channels kept: each group alone at both ends, then all groups level by level, by each multiple."""
        for multiple in cls.channel_multiples:
            offered = {g.name: w for g in graph if (w := g.widths(multiple)[:-1])}
            for name, widths in offered.items():
                yield from ({name: width} for width in dict.fromkeys((widths[0], widths[-1])))
            steps = min(LEVELS, max(map(len, offered.values()), default=0))
            for step in range(steps):
                share = step / max(1, steps - 1)
                yield {name: widths[math.floor(share * (len(widths) - 1))] for name, widths in offered.items()}


def unlisted_weights(model: nn.Module, graph: Graph) -> list[str]:
    """Return the parameters of more than one element that are in no group of ``graph`` and in no frozen one."""
    known = {piece.tensor for group in graph for piece in group.slices}
    layers = {layer for frozen in graph.frozen for layer in frozen.layers}
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter.numel() > 1:
            names.setdefault(id(parameter), []).append(name)
    return [same[0] for same in names.values() if not any(n in known or (layer_of(n) or n) in layers for n in same)]


def _noisy(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """Return a copy whose parameters are shifted, so that a scale initialised to zero cannot hide a mistake."""
    noisy = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in (p for p in noisy.parameters() if p.is_floating_point()):
            spread = float(parameter.std()) if parameter.numel() > 1 else 1.0
            parameter += 0.1 * (spread or 1.0) * torch.randn(parameter.shape, generator=generator)
    return noisy


def _difference(left: nn.Module, right: nn.Module, inputs: Inputs) -> float:
    """Return the largest difference of two networks' outputs, as a share of the largest output.

    Single precision alone may round by more than the tolerance, so what differs is compared again in double.
    """
    with torch.no_grad():
        found, wanted = (tensors_of(call(model, inputs)) for model in (left, right))
    assert [t.shape for t in found] == [t.shape for t in wanted]
    assert all(bool(torch.isfinite(t).all()) for t in (*found, *wanted) if t.is_floating_point())
    scale = max(float(t.abs().max()) for t in wanted) or 1.0
    difference = max(float((a - b).abs().max()) for a, b in zip(found, wanted, strict=True)) / scale
    if TOLERANCE < difference < 1e-3 and next(right.parameters()).dtype == torch.float32:
        left, right = (copy.deepcopy(model).double() for model in (left, right))
        return _difference(left, right, map_tensors(lambda t: t.double() if t.is_floating_point() else t, inputs))
    return difference


def _check_gradients(model: nn.Module, outputs: Iterable[torch.Tensor]) -> None:
    wanted = [p for p in model.parameters() if p.requires_grad]
    loss = torch.stack([t.float().square().sum() for t in outputs if t.requires_grad]).sum()
    gradients = [g for g in torch.autograd.grad(loss, wanted, allow_unused=True) if g is not None]
    assert gradients
    assert all(bool(torch.isfinite(g).all()) for g in gradients)


def _params(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _storages(model: nn.Module) -> set[int]:
    return {tensor.untyped_storage().data_ptr() for tensor in named_tensors(model).values() if tensor.numel()}


def _hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def _plain_attributes(model: nn.Module) -> dict[str, object]:
    """Return every number, text and tuple of them that the network's modules keep, such as ``num_heads``."""
    return {
        f"{name}.{key}": copy.copy(value)
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, int | float | str | tuple | list)
    }
