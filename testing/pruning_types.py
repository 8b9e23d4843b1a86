"""The contract of a pruning type, as tests: subclass :class:`PruningTypeContract` and name your type.

class TestMine(PruningTypeContract):
    kind = "mine"
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import nn

from ..errors import InputError
from ..evaluators.counting import size_bytes
from ..evaluators.onnx.onnx_export import export_onnx, onnx_feed
from ..evaluators.onnx.quantisation import quantise
from ..evaluators.sparse_size import sparse_size_bytes
from ..evaluators.task.task import Task
from ..evaluators.training.fine_tune import fine_tune
from ..evaluators.weights_file import load_weights, save_weights
from ..spaces.apply import prune
from ..spaces.graph.groups import Graph
from ..spaces.graph.trace import trace
from ..spaces.importance.rankings import Rankings, rank
from ..spaces.masks import broken_promises, masks_of
from ..spaces.policy import Choice, Policy
from ..spaces.pruning_types import PRUNING_TYPES, Amount
from ..spaces.search_space import SearchSpace

PARITY = 1e-4


class ContractNetwork(nn.Module):
    """A residual sum, a depthwise convolution, a concatenation, odd widths and linear layers; 10 images of 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1, bias=False)
        self.stem_bn = nn.BatchNorm2d(12)
        self.inner = nn.Conv2d(12, 18, 3, padding=1)
        self.depthwise = nn.Conv2d(18, 18, 3, padding=1, groups=18)
        self.outer = nn.Conv2d(18, 12, 1)
        self.side = nn.Conv2d(12, 8, 3, stride=2, padding=1)
        self.down = nn.Conv2d(12, 16, 3, stride=2, padding=1)
        self.hidden = nn.Linear(24, 20)
        self.head = nn.Linear(20, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (batch, 5)."""
        x = F.relu(self.stem_bn(self.stem(x)))
        x = F.relu(x + self.outer(F.silu(self.depthwise(self.inner(x)))))
        x = torch.cat([F.relu(self.side(x)), F.relu(self.down(x))], dim=1).mean((2, 3))
        return self.head(F.gelu(self.hidden(x)))


def contract_network() -> nn.Module:
    """Return the network with seeded weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ContractNetwork().eval()


class PruningTypeContract:
    """What every pruning type must do, at each amount that it offers, alone and beside channel pruning."""

    kind: str
    """The type's name in the registry."""

    @pytest.fixture(scope="class")
    @classmethod
    def dense(cls) -> nn.Module:
        """Return the network that is pruned; tests must leave it as it is."""
        return contract_network()

    @pytest.fixture(scope="class")
    @classmethod
    def example_input(cls) -> torch.Tensor:
        """Return what the network takes, a batch of 1."""
        return torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))

    @pytest.fixture(scope="class")
    @classmethod
    def graph(cls, dense: nn.Module, example_input: torch.Tensor) -> Graph:
        """Return the network's trace."""
        return trace(dense, example_input)

    @pytest.fixture(scope="class")
    @classmethod
    def rankings(cls, dense: nn.Module, graph: Graph) -> Rankings:
        """Return the rankings of the channels."""
        return rank(dense, graph, ("l1", "l2"))

    @pytest.fixture(scope="class")
    @classmethod
    def policies(cls, graph: Graph) -> tuple[Policy, ...]:
        """Return a policy for each amount everywhere, and mixed ones with channels gone from every other group."""
        return (*cls._uniform(graph), *cls._mixed(graph))

    @pytest.fixture
    def task(self, example_input: torch.Tensor) -> Task:
        """Return a task for a short fine-tune whose steps are large, so that what may move does."""
        generator = torch.Generator().manual_seed(2)
        data = torch.randn(64, *example_input.shape[1:], generator=generator), torch.arange(64) % 5
        return Task(
            name="contract",
            model=contract_network,
            example_input=example_input,
            train=data,
            validation=data,
            test=None,
            batch_size=16,
            learning_rate=0.1,
        )

    def test_amounts_rise_and_differ(self, graph: Graph) -> None:
        for group in graph:
            shares = [kept / of for kept, of in self._amounts(graph, group.name)]
            assert shares == sorted(shares)
            assert len(set(self._amounts(graph, group.name))) == len(shares)
            assert all(0 <= share <= 1 for share in shares)

    def test_its_own_choices_pass_and_foreign_ones_are_refused(self, graph: Graph) -> None:
        kind = PRUNING_TYPES.get(self.kind)
        for group in graph:
            for amount in self._amounts(graph, group.name):
                kind.check(group, self._choice(amount))
            with pytest.raises(InputError, match=group.name):
                kind.check(group, Choice(self.kind, "l1", kept=999_999, of=999_999))

    def test_choices_are_told_to_people(self, graph: Graph) -> None:
        for amounts in (self._amounts(graph, group.name) for group in graph):
            words = [PRUNING_TYPES.get(self.kind).words(self._choice(amount)) for amount in amounts]
            assert len(set(words)) == len(words)

    def test_every_policy_runs_and_keeps_the_outputs_shape(
        self, dense: nn.Module, graph: Graph, rankings: Rankings, policies: tuple[Policy, ...]
    ) -> None:
        inputs = _inputs()
        with torch.no_grad():
            expected = dense(inputs)
            for policy in policies:
                outputs = prune(dense, graph, policy, rankings=rankings)(inputs)
                assert outputs.shape == expected.shape
                assert bool(torch.isfinite(outputs).all())

    def test_the_promise_is_kept_at_once(
        self, dense: nn.Module, graph: Graph, rankings: Rankings, policies: tuple[Policy, ...]
    ) -> None:
        for policy in policies:
            self.check_promise(prune(dense, graph, policy, rankings=rankings), graph, policy)

    def test_every_policy_trains_with_finite_gradients(
        self, dense: nn.Module, graph: Graph, rankings: Rankings, policies: tuple[Policy, ...]
    ) -> None:
        for policy in policies:
            small = prune(dense, graph, policy, rankings=rankings).train()
            F.cross_entropy(small(_inputs()), torch.arange(10) % 5).backward()
            for name, parameter in small.named_parameters():
                assert parameter.grad is not None, name
                assert bool(torch.isfinite(parameter.grad).all()), name

    def test_the_promise_survives_fine_tuning(
        self, dense: nn.Module, graph: Graph, rankings: Rankings, policies: tuple[Policy, ...], task: Task
    ) -> None:
        for policy in policies:
            small = prune(dense, graph, policy, rankings=rankings)
            before = {name: tensor.clone() for name, tensor in small.named_parameters()}
            masks = masks_of(small, graph, policy)
            tuned = fine_tune(small, task, 96, torch.Generator().manual_seed(0), masks=masks)
            self.check_promise(tuned, graph, policy)
            assert masks.hold(tuned)
            moved = [name for name, tensor in tuned.named_parameters() if not torch.equal(before[name], tensor)]
            assert len(moved) == len(before)

    def test_the_promise_survives_a_tasks_own_loop(
        self, dense: nn.Module, graph: Graph, rankings: Rankings, policies: tuple[Policy, ...], task: Task
    ) -> None:
        def shift(model: nn.Module, task: Task, samples: int, generator: torch.Generator) -> nn.Module:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter += 0.01
            return model

        own = replace(task, fine_tune=shift)
        small = prune(dense, graph, policies[0], rankings=rankings)
        masks = masks_of(small, graph, policies[0])
        tuned = fine_tune(small, own, 1, torch.Generator(), masks=masks)
        self.check_promise(tuned, graph, policies[0])
        assert masks.hold(tuned)

    def test_the_promise_survives_saving_and_loading(
        self, dense: nn.Module, graph: Graph, rankings: Rankings, policies: tuple[Policy, ...], tmp_path: Path
    ) -> None:
        for policy in policies:
            small = prune(dense, graph, policy, rankings=rankings)
            with torch.no_grad():
                for parameter in small.parameters():
                    parameter *= 1.5
            save_weights(small, tmp_path / "small.safetensors")
            again = prune(dense, graph, Policy.from_json(policy.to_json()), rankings=rankings)
            load_weights(again, tmp_path / "small.safetensors")
            self.check_promise(again, graph, policy)
            with torch.no_grad():
                assert torch.equal(again(_inputs()), small(_inputs()))

    def test_the_exported_onnx_computes_the_same_with_the_same_zeros(
        self,
        dense: nn.Module,
        graph: Graph,
        rankings: Rankings,
        policies: tuple[Policy, ...],
        example_input: torch.Tensor,
    ) -> None:
        from onnxruntime import InferenceSession

        for policy in (policies[0], policies[-1]):
            small = prune(dense, graph, policy, rankings=rankings)
            exported = export_onnx(small, example_input)
            (found,) = InferenceSession(exported).run(None, onnx_feed(example_input))
            with torch.no_grad():
                expected = small(example_input).numpy()
            assert np.abs(np.asarray(found) - expected).max() <= PARITY * np.abs(expected).max()
            assert _zeros(exported) >= sum(int(m.zeroed.sum()) for m in masks_of(small, graph, policy).of.values())

    def test_quantisation_keeps_the_zeros(
        self, dense: nn.Module, graph: Graph, rankings: Rankings, policies: tuple[Policy, ...], task: Task
    ) -> None:
        for policy in (policies[0], policies[-1]):
            small = prune(dense, graph, policy, rankings=rankings)
            assert _zeros(quantise(small, task)) >= sum(
                int(m.zeroed.sum()) for m in masks_of(small, graph, policy).of.values()
            )

    def test_the_given_network_stays_as_it_was_and_shares_nothing(
        self, dense: nn.Module, graph: Graph, rankings: Rankings, policies: tuple[Policy, ...]
    ) -> None:
        before = {name: tensor.clone() for name, tensor in dense.state_dict().items()}
        mine = {tensor.data_ptr() for tensor in dense.state_dict().values()}
        for policy in policies:
            first, second = (prune(dense, graph, policy, rankings=rankings) for _ in range(2))
            states = first.state_dict(), second.state_dict()
            assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
            with torch.no_grad():
                for tensor in states[0].values():
                    assert tensor.data_ptr() not in mine
                    tensor.fill_(7)
        assert all(torch.equal(before[name], tensor) for name, tensor in dense.state_dict().items())

    def test_the_stated_size_is_never_above_the_dense_one(
        self, dense: nn.Module, graph: Graph, rankings: Rankings, policies: tuple[Policy, ...]
    ) -> None:
        for policy, precision in itertools.product(policies, ("fp32", "int8")):
            small = prune(dense, graph, policy, rankings=rankings)
            masks = masks_of(small, graph, policy)
            stated, whole = sparse_size_bytes(small, masks, precision), size_bytes(small, precision)
            assert 0 < stated < whole if masks else stated == whole

    def test_a_search_space_of_it_and_channels_tells_its_policies_apart(
        self, graph: Graph, policies: tuple[Policy, ...]
    ) -> None:
        space = SearchSpace(graph, types=(self.kind, "channel"), criteria=("l1",))
        for policy in policies:
            assert space.policy(space.values(policy)) == policy

    def check_promise(self, small: nn.Module, graph: Graph, policy: Policy) -> None:
        """Check that ``small`` is as sparse as ``policy`` says; a type that promises more overrides this."""
        assert broken_promises(small, graph, policy) == ()
        tensors = dict(small.named_parameters())
        for group in graph:
            choice, weight = policy.choices[group.name], group.weights[0]
            kept = choice.kept if choice.type == "channel" else group.channels
            if len(weight.rows) == weight.shape[weight.dim]:
                assert tensors[weight.tensor].shape[weight.dim] == kept * len(weight.rows) // group.channels

    @classmethod
    def _amounts(cls, graph: Graph, group: str) -> tuple[Amount, ...]:
        return PRUNING_TYPES.get(cls.kind).options(graph.group(group), channel_multiple=1)

    @classmethod
    def _choice(cls, amount: Amount) -> Choice:
        criterion = "l1" if PRUNING_TYPES.get(cls.kind).ranked else None
        return Choice(cls.kind, criterion, kept=amount[0], of=amount[1])

    @classmethod
    def _uniform(cls, graph: Graph) -> Iterator[Policy]:
        offered = {g.name: cls._amounts(graph, g.name) for g in graph}
        most = max(len(amounts) for amounts in offered.values())
        # A channel type offers one amount per channel: the ends and a few between.
        for index in sorted({0, 1, most // 2, most - 1} & set(range(most))):
            yield Policy.of(graph, {n: cls._choice(a[min(index, len(a) - 1)]) for n, a in offered.items() if a})

    @classmethod
    def _mixed(cls, graph: Graph) -> Iterator[Policy]:
        for parity in (0, 1):
            choices = {}
            for index, group in enumerate(graph):
                amounts = cls._amounts(graph, group.name)
                if index % 2 == parity:
                    choices[group.name] = Choice.channel(
                        kept=max(1, group.channels // 2), of=group.channels, criterion="l1"
                    )
                elif amounts:
                    choices[group.name] = cls._choice(amounts[0])
            yield Policy.of(graph, choices)


def _inputs() -> torch.Tensor:
    return torch.randn(10, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def _zeros(exported: bytes) -> int:
    weights = [numpy_helper.to_array(t) for t in onnx.load_from_string(exported).graph.initializer]
    return sum(int((w == 0).sum()) for w in weights if w.ndim >= 2)
