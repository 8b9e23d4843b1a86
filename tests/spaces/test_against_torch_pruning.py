"""Groups against those of Torch-Pruning's dependency graph, an independent implementation, where that is right.

What it cannot trace, or traces wrongly (zero-padded shortcuts, halves of a split), is told in docs/networks.md.
"""

from __future__ import annotations

import pytest
import torch
import torch_pruning
from espalier_test_architectures import UNet
from espalier_test_networks import INPUTS, Concatenated, Perceptron, Residual, ZeroPadded, seeded
from torch import nn

from espalier.spaces import Policy, prune, trace
from espalier.spaces.importance.rankings import Rankings

CASES = {
    Residual: INPUTS[Residual],
    Concatenated: INPUTS[Concatenated],
    Perceptron: INPUTS[Perceptron],
    UNet: torch.zeros(1, 3, 16, 16),
}


def _dependency_graph(model: nn.Module, example_input: torch.Tensor) -> torch_pruning.DependencyGraph:
    graph = torch_pruning.DependencyGraph()
    # Fresh containers: the defaults of 1.6.1 are mutable and leak into the next graph.
    return graph.build_dependency(
        model, example_inputs=example_input, unwrapped_parameters=[], customized_pruners={}, ignored_layers=[]
    )


def _sides(model: nn.Module, example_input: torch.Tensor) -> set[frozenset[str]]:
    """Return, for every group that is no output, the layers it touches."""
    graph = _dependency_graph(model, example_input)
    names = {module: name for name, module in model.named_modules()}
    found = set()
    for group in graph.get_all_groups():
        layers = frozenset(names[dep.target.module] for dep, _ in group if dep.target.module in names)
        if layers != {"head"} and layers != {"out"}:
            found.add(layers)
    return found


@pytest.mark.parametrize("build", CASES)
def test_the_groups_touch_the_same_layers(build):
    model = seeded(build)
    mine = {frozenset(g.layers) for g in trace(model, CASES[build]).groups}
    assert mine == _sides(seeded(build), CASES[build])


@pytest.mark.parametrize("build", CASES)
def test_the_same_channels_gone_give_the_same_network(build):
    model, theirs = seeded(build), seeded(build)
    graph = trace(model, CASES[build])
    group = graph.groups[0]
    gone = [1, 3, 4]
    kept = [c for c in range(group.channels) if c not in gone]
    rankings = Rankings({"l2": {g.name: (*kept, *gone) if g is group else tuple(range(g.channels)) for g in graph}})
    mine = prune(model, graph, Policy.from_kept(graph, {group.name: len(kept)}), rankings=rankings)
    root = theirs.get_submodule(group.name)
    dependencies = _dependency_graph(theirs, CASES[build])
    pruner = dependencies.get_pruner_of_module(root)
    dependencies.get_pruning_group(root, pruner.prune_out_channels, idxs=gone).prune()
    probe = torch.randn(3, *CASES[build].shape[1:], generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mine(probe), theirs(probe), atol=1e-6, rtol=1e-6)


def test_a_zero_padded_shortcut_is_where_the_two_part():
    """The original couples channel i with channel i across the padding; the pruned network then does not run."""
    theirs = seeded(ZeroPadded)
    dependencies = _dependency_graph(theirs, INPUTS[ZeroPadded])
    group = dependencies.get_pruning_group(theirs.stem, torch_pruning.prune_conv_out_channels, idxs=[0, 1])
    group.prune()
    probe = torch.randn(2, 3, 8, 8)
    wrong = theirs(probe)
    model = seeded(ZeroPadded)
    graph = trace(model, INPUTS[ZeroPadded])
    order = (*tuple(range(2, 8)), 0, 1)
    rankings = Rankings({"l2": {g.name: order if g.name == "stem" else tuple(range(g.channels)) for g in graph}})
    mine = prune(model, graph, Policy.from_kept(graph, {"stem": 6}), rankings=rankings)
    twin = seeded(ZeroPadded)
    with torch.no_grad():
        for name, dim, shift in _STEM:
            dict(twin.named_parameters())[name].index_fill_(dim, torch.tensor([0, 1]) + shift, 0)
        right = twin(probe)
    torch.testing.assert_close(mine(probe), right, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(wrong, right, atol=1e-3)


_STEM = [
    *((f"{name}.{part}", 0, 0) for name in ("stem", "layer1.bn2") for part in ("weight", "bias")),
    *(("layer1.conv2.weight", 0, 0), ("layer1.conv1.weight", 1, 0), ("layer2.conv1.weight", 1, 0)),
    *((f"layer2.{name}", 0, 4) for name in ("conv2.weight", "bn2.weight", "bn2.bias")),
    ("layer3.conv1.weight", 1, 4),
    *((f"layer3.{name}", 0, 12) for name in ("conv2.weight", "bn2.weight", "bn2.bias")),
    ("head.weight", 1, 12),
]
