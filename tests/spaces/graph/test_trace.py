"""Tracing: what is offered prunes into a network that equals its masked twin; the rest is frozen with a reason."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from espalier_test_networks import INPUTS, Concatenated, Perceptron, Residual, SelfReshaping, ZeroPadded, seeded
from torch import nn

from espalier.errors import InputError
from espalier.spaces import CRITERIA, Choice, Policy, Rankings, fingerprint, prune, rank, trace


def _probe(build: type[nn.Module]) -> torch.Tensor:
    return torch.randn(4, *INPUTS[build].shape[1:], generator=torch.Generator().manual_seed(1))


def _forward_ranking(graph) -> Rankings:
    return Rankings({"l2": {g.name: tuple(range(g.channels)) for g in graph.groups}})


@pytest.mark.parametrize(
    ("build", "groups", "frozen"),
    [
        (Residual, {"stem": 8, "inner": 12, "down": 16}, {"head"}),
        (Concatenated, {"left": 6, "right": 10, "merge": 8}, {"head"}),
        (
            ZeroPadded,
            {"stem": 8, "layer1.conv1": 8, "layer2.conv1": 16, "layer3.conv1": 32},
            {"layer2.conv2", "layer3.conv2", "head"},
        ),
        (Perceptron, {"first": 24, "second": 16}, {"head"}),
        (SelfReshaping, {"free": 6}, {"fixed", "head"}),
    ],
)
def test_groups_and_frozen_groups_are_the_ones_found_by_hand(build, groups, frozen):
    graph = trace(seeded(build), INPUTS[build])
    assert {g.name: g.channels for g in graph.groups} == groups
    assert {f.name for f in graph.frozen} == frozen
    assert all(f.reason for f in graph.frozen)


def test_verification_is_exact_but_across_a_layer_norm():
    graph = trace(seeded(Perceptron), INPUTS[Perceptron])
    assert {g.name: g.verification for g in graph.groups} == {"first": "shape", "second": "exact"}


# For each group, by hand: what to zero, rows in tensors that produce its channels and columns in those that read them.
MASKS = {
    (Residual, "inner"): ({"inner.weight": 0, "inner_bn.weight": 0, "inner_bn.bias": 0, "outer.weight": 1}, {}),
    (Residual, "stem"): (
        dict.fromkeys(["stem.weight", "stem.bias", "stem_bn.weight", "stem_bn.bias", "outer.weight", "outer.bias"], 0)
        | dict.fromkeys(["depthwise.weight", "depthwise.bias"], 0)
        | dict.fromkeys(["inner.weight", "down.weight", "shortcut.weight"], 1),
        {},
    ),
    (Concatenated, "right"): (
        dict.fromkeys(["right.weight", "right.bias"], 0),
        {"merge_bn.weight": (0, 6), "merge_bn.bias": (0, 6), "merge.weight": (1, 6)},
    ),
    (ZeroPadded, "stem"): (
        dict.fromkeys(["stem.weight", "stem.bias", "layer1.conv2.weight", "layer1.bn2.weight", "layer1.bn2.bias"], 0)
        | dict.fromkeys(["layer1.conv1.weight", "layer2.conv1.weight"], 1),
        {
            "layer2.conv2.weight": (0, 4),
            "layer2.bn2.weight": (0, 4),
            "layer2.bn2.bias": (0, 4),
            "layer3.conv1.weight": (1, 4),
            "layer3.conv2.weight": (0, 12),
            "layer3.bn2.weight": (0, 12),
            "layer3.bn2.bias": (0, 12),
            "head.weight": (1, 12),
        },
    ),
}


@pytest.mark.parametrize(("build", "name"), MASKS)
def test_a_pruned_network_equals_the_original_with_the_same_channels_masked_by_hand(build, name):
    model = seeded(build)
    graph = trace(model, INPUTS[build])
    channels = graph.group(name).channels
    kept = channels - 3
    small = prune(model, graph, Policy.from_kept(graph, {name: kept}), rankings=_forward_ranking(graph))
    twin = copy.deepcopy(model)
    straight, shifted = MASKS[build, name]
    with torch.no_grad():
        for tensor, (dim, shift) in ({t: (d, 0) for t, d in straight.items()} | shifted).items():
            rows = torch.arange(kept, channels) + shift
            dict(twin.named_parameters())[tensor].index_fill_(dim, rows, 0.0)
        probe = _probe(build)
        assert not torch.allclose(twin(probe), model(probe), atol=1e-3), (
            "the mask must matter, or the test shows nothing"
        )
        torch.testing.assert_close(small(probe), twin(probe), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("build", INPUTS)
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.6, 0.99])
def test_every_uniform_policy_runs_trains_and_keeps_the_output_shape(build, sparsity):
    model = seeded(build)
    graph = trace(model, INPUTS[build])
    small = prune(model, graph, Policy.uniform(graph, sparsity))
    probe = _probe(build)
    output = small(probe)
    assert output.shape == model(probe).shape
    output.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in small.parameters())
    assert torch.equal(prune(model, graph, Policy.dense(graph))(probe), model(probe))


def test_the_given_network_is_untouched_and_shares_nothing_with_the_pruned_one():
    model = seeded(Residual)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    graph = trace(model, INPUTS[Residual])
    small = prune(model, graph, Policy.uniform(graph, 0.5))
    with torch.no_grad():
        for tensor in (*small.parameters(), *small.buffers()):
            tensor.zero_()
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not model.training
    assert all(p.grad is None for p in model.parameters())


def test_traces_of_different_networks_never_influence_each_other():
    alone = {build: trace(seeded(build), INPUTS[build]) for build in INPUTS}
    for build in reversed(INPUTS):
        assert trace(seeded(build), INPUTS[build]) == alone[build]


def test_size_attributes_agree_with_the_pruned_tensors():
    model = seeded(Residual)
    graph = trace(model, INPUTS[Residual])
    small = prune(model, graph, Policy.from_kept(graph, {"stem": 2, "inner": 3, "down": 5}))
    assert (small.stem.out_channels, small.stem_bn.num_features, small.outer.out_channels) == (2, 2, 2)
    assert (small.depthwise.groups, small.depthwise.in_channels, small.depthwise.out_channels) == (2, 2, 2)
    assert (small.inner.out_channels, small.inner.in_channels) == (3, 2)
    assert small.head.in_features == 5 * 4
    assert tuple(small.head.weight.shape) == (5, 20)


def test_frozen_layers_are_not_offered():
    graph = trace(seeded(Residual), INPUTS[Residual], freeze=["inner", "shortcut"])
    assert {g.name for g in graph.groups} == {"stem"}
    reasons = {f.name: f.reason for f in graph.frozen}
    assert "the task freezes inner" in reasons["inner"]
    assert "the task freezes shortcut" in reasons["down"]


def test_freezing_an_unknown_layer_names_it():
    with pytest.raises(InputError, match="'outre'"):
        trace(seeded(Residual), INPUTS[Residual], freeze=["outre"])


def test_a_network_that_fails_on_its_example_input_says_so():
    with pytest.raises(InputError, match="fails on the example input: RuntimeError"):
        trace(seeded(Residual), torch.zeros(1, 4, 8, 8))


class ScaledToZero(nn.Module):
    """A branch whose last scale is initialised to zero hides whatever stands before it, unless that is perturbed."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        self.branch = nn.Conv2d(8, 8, 1)
        self.scale = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 2)
        nn.init.zeros_(self.scale.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        # Numbers that Python counts belong to positions, which no dependency graph sees.
        branch = torch.stack([i * channel for i, channel in enumerate(self.branch(F.relu(x)).unbind(1))], 1)
        return self.head((x + self.scale(branch)).mean((2, 3)))


def test_a_wrong_coupling_behind_a_zero_scale_is_found():
    graph = trace(seeded(ScaledToZero), INPUTS[Residual])
    assert {g.name for g in graph.groups} == set()
    assert any("masked twin" in f.reason for f in graph.frozen)


@pytest.mark.parametrize("criterion", list(CRITERIA))
def test_policies_over_one_criterion_nest(criterion):
    model = seeded(Residual)
    graph = trace(model, INPUTS[Residual])
    rankings = Rankings({criterion: rank(model, graph, ["random"], seed=3).order["random"]})
    wide = prune(model, graph, Policy.from_kept(graph, {"inner": 9}, criterion=criterion), rankings=rankings)
    narrow = prune(model, graph, Policy.from_kept(graph, {"inner": 4}, criterion=criterion), rankings=rankings)
    rows = {tuple(row) for row in wide.inner.weight.flatten(1).tolist()}
    assert all(tuple(row) in rows for row in narrow.inner.weight.flatten(1).tolist())


def test_a_policy_of_another_network_is_refused():
    model = seeded(Residual)
    graph = trace(model, INPUTS[Residual])
    other = seeded(Concatenated)
    with pytest.raises(InputError, match=fingerprint(other)):
        prune(model, graph, Policy.uniform(trace(other, INPUTS[Concatenated]), 0.5))


def test_a_residual_branch_can_be_dropped_and_leaves_its_shortcut():
    model = seeded(Residual)
    graph = trace(model, INPUTS[Residual])
    branch = graph.group("inner").branch
    assert branch is not None
    assert (branch.end, set(branch.skipped), branch.groups) == ("outer", {"inner", "inner_bn"}, ("inner",))
    assert graph.group("stem").branch is None
    assert graph.group("down").branch is None
    dropped = Policy.of(graph, {"inner": Choice("block", None, kept=0, of=1)})
    small = prune(model, graph, dropped)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.outer.weight.zero_()
        twin.outer.bias.zero_()
        probe = _probe(Residual)
        torch.testing.assert_close(small(probe), twin(probe), atol=1e-6, rtol=1e-6)
    assert not [name for name, _ in small.named_parameters() if name.startswith(("inner", "outer"))]


def test_a_branch_is_dropped_beside_narrower_channels():
    model = seeded(ZeroPadded)
    graph = trace(model, INPUTS[ZeroPadded])
    assert {g.name for g in graph if g.branch is not None} == {"layer1.conv1", "layer2.conv1", "layer3.conv1"}
    choices = {
        "stem": Choice.channel(kept=5, of=8, criterion="l2"),
        "layer2.conv1": Choice("block", None, kept=0, of=1),
        "layer3.conv1": Choice.channel(kept=9, of=32, criterion="l2"),
    }
    small = prune(model, graph, Policy.of(graph, choices))
    assert small(_probe(ZeroPadded)).shape == (4, 4)
    assert small.layer2.bn2(torch.zeros(1, 4, 8, 8)).shape[1] == small.layer1.bn2.num_features + 8


def test_only_a_group_inside_a_branch_takes_the_type_block():
    model = seeded(Residual)
    graph = trace(model, INPUTS[Residual])
    with pytest.raises(InputError, match="stands for a residual branch"):
        prune(model, graph, Policy.of(graph, {"stem": Choice("block", None, kept=0, of=1)}))


class SplitPaths(nn.Module):
    """Halves of its input go down two paths that a list holds; how wide they are stands in the module around it."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 16
        self.stem = nn.Conv2d(3, 16, 1)
        self.paths = nn.ModuleList([nn.Sequential(nn.Conv2d(8, 8, 3, padding=1)) for _ in range(2)])
        self.out = nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        halves = torch.split(self.stem(x), self.width // 2, 1)
        added = sum(path(half) for path, half in zip(self.paths, halves, strict=True))
        return self.out(added * halves[0] * halves[1])


def test_a_size_is_found_in_the_module_around_a_list_of_layers():
    model = seeded(SplitPaths)
    graph = trace(model, torch.zeros(1, 3, 8, 8))
    assert [(g.name, g.channels) for g in graph.groups] == [("stem", 8)]
    assert [a.name for a in graph.groups[0].attributes] == ["width"]


class RemembersItsScale(nn.Module):
    """Computes a scale once for evaluation, as LeViT does its attention biases, and drops it when trained again."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        self.remembered: torch.Tensor | None = None

    def train(self, mode: bool = True) -> RemembersItsScale:
        super().train(mode)
        if mode:
            self.remembered = None
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            return self.last(self.first(x) * self.scale.exp())
        if self.remembered is None:
            self.remembered = self.scale.detach().exp()
        return self.last(self.first(x) * self.remembered)


def test_what_a_module_remembers_of_earlier_passes_is_forgotten():
    model, image = seeded(RemembersItsScale).eval(), torch.randn(1, 3, 8, 8)
    model(image)
    graph = trace(model, image)
    assert [g.name for g in graph.groups] == ["first"]
    pruned = prune(model, graph, Policy.uniform(graph, 0.5))
    assert pruned(image).shape == (1, 4, 8, 8)
    assert not pruned.training
    assert model.remembered is not None


def test_channels_beside_a_zero_padded_shortcut_are_frozen_with_a_plain_reason():
    graph = trace(seeded(ZeroPadded), INPUTS[ZeroPadded])
    reasons = {f.name: f.reason for f in graph.frozen}
    said = "a shortcut adds a fixed number of channels of zeros to it, which would no longer fit"
    assert (reasons["layer2.conv2"], reasons["layer3.conv2"]) == (said, said)


def test_tracing_does_not_import_the_compiler():
    code = (
        "import sys, torch, espalier\n"
        "espalier.trace(torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 2)), torch.zeros(1, 4))\n"
        "print('torch._dynamo' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_what_the_caller_has_switched_off_changes_nothing(mode) -> None:
    network, x = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 5)).eval(), torch.zeros(1, 6)
    expected = trace(network, x)
    with mode():
        assert trace(network, x) == expected
    assert [group.name for group in expected] == ["0"]
