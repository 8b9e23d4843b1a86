"""Networks that hold computed tensors: pruned like others, against their masked twins, or refused with the way out."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils import prune as torch_prune

from espalier import trace
from espalier.errors import InputError
from espalier.spaces.graph.groups import Graph
from espalier.spaces.graph.slicing import positions_of, without, zeroed

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.nn.utils import spectral_norm, weight_norm

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def dense(middle: Callable[[nn.Module], nn.Module] = lambda layer: layer) -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Linear(6, 16), nn.ReLU(), middle(nn.Linear(16, 12)), nn.ReLU(), nn.Linear(12, 5)
    return nn.Sequential(*layers)


def masked() -> nn.Module:
    network = dense()
    torch_prune.l1_unstructured(network[0], "weight", 0.5)
    torch_prune.l1_unstructured(network[2], "weight", 0.25)
    torch_prune.random_unstructured(network[2], "weight", 0.25)
    torch_prune.l1_unstructured(network[2], "bias", 0.2)
    return network


def masked_convolutions() -> nn.Module:
    network = nn.Sequential(nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 3))
    for layer in (network[0], network[3]):
        torch_prune.ln_structured(layer, "weight", 0.25, n=2, dim=0)
    return network


class Remembers(nn.Module):
    """Keeps activations for a plot, in an attribute and in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.all = nn.Linear(6, 16), nn.Linear(16, 5), []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.attention = F.relu(self.first(x))
        self.all.append(self.attention)
        return self.last(self.attention)


def used() -> nn.Module:
    network = Remembers()
    network(torch.randn(2, 6)).sum().backward()
    return network


NETWORKS = {
    "masks": (masked, {"0": 16, "2": 12}),
    "masks of convolutions": (masked_convolutions, {"0": 8}),
    "weight_norm": (lambda: dense(weight_norm), {"0": 16, "2": 12}),
    "weight_norm of columns": (lambda: dense(lambda layer: weight_norm(layer, dim=1)), {"0": 16, "2": 12}),
    "weight_norm of all": (lambda: dense(lambda layer: weight_norm(layer, dim=None)), {"0": 16, "2": 12}),
    "new weight_norm": (lambda: dense(parametrizations.weight_norm), {"0": 16, "2": 12}),
    "kept activation": (used, {"first": 16}),
}


def example(name: str) -> torch.Tensor:
    return torch.zeros(1, 2, 8, 8) if name == "masks of convolutions" else torch.zeros(1, 6)


def every_other(graph: Graph) -> list:
    return [(group, range(0, group.channels, 2)) for group in graph.groups]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("training", [False, True])
def test_pruned_networks_equal_their_masked_twins(name, training):
    build, expected = NETWORKS[name]
    model = build().train(training)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    graph = trace(model, example(name))
    assert {group.name: group.channels for group in graph.groups} == expected
    removed = every_other(graph)
    pruned, twin = without(model, removed).eval(), zeroed(model, positions_of(removed)).eval()
    x = torch.randn(4, *example(name).shape[1:])
    assert torch.allclose(pruned(x), twin(x), atol=1e-6)
    assert model.training is training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", NETWORKS)
def test_pruned_networks_learn_and_are_saved(name):
    build, _ = NETWORKS[name]
    model = build()
    pruned = without(model, every_other(trace(model, example(name)))).train()
    optimiser = torch.optim.SGD(pruned.parameters(), lr=0.1)
    x = torch.randn(4, *example(name).shape[1:])
    before = pruned(x).detach()
    pruned(x).pow(2).sum().backward()
    optimiser.step()
    assert not torch.equal(pruned(x), before)
    file = io.BytesIO()
    torch.save(pruned.state_dict(), file)
    file.seek(0)
    again = without(model, every_other(trace(model, example(name))))
    again.load_state_dict(torch.load(file, weights_only=True))
    assert torch.allclose(again.eval()(x), pruned.eval()(x), atol=1e-6)


def test_masks_are_cut_with_their_weights_and_sizes_follow():
    model = masked()
    pruned = without(model, every_other(trace(model, torch.zeros(1, 6))))
    layer = pruned[2]
    assert (layer.in_features, layer.out_features) == (8, 6)
    assert layer.weight_orig.shape == layer.weight_mask.shape == layer.weight.shape == (6, 8)
    assert torch.equal(layer.weight_mask, model[2].weight_mask[1::2, 1::2])
    assert torch.equal(layer.weight, layer.weight_orig * layer.weight_mask)
    torch_prune.remove(layer, "weight")
    torch_prune.remove(layer, "bias")
    assert isinstance(layer.weight, nn.Parameter)


@pytest.mark.parametrize(
    "normed", [spectral_norm, parametrizations.spectral_norm, lambda layer: parametrizations.orthogonal(layer)]
)
@pytest.mark.parametrize("training", [False, True])
def test_weights_that_all_of_a_matrix_goes_into_are_traced(normed, training):
    torch.manual_seed(0)
    layers = nn.Linear(6, 16), nn.ReLU(), normed(nn.Linear(16, 16)), nn.ReLU(), nn.Linear(16, 12), nn.ReLU()
    model = nn.Sequential(*layers, nn.Linear(12, 5)).train(training)
    before = copy.deepcopy(model.state_dict())
    graph = trace(model, torch.zeros(1, 6))
    assert "4" in {group.name for group in graph.groups}
    listed = {s.layer for g in graph.groups for s in g.slices} | {layer for f in graph.frozen for layer in f.layers}
    assert {"0", "4", "6"} <= listed
    removed = every_other(graph)
    pruned, twin = without(model, removed).eval(), zeroed(model, positions_of(removed)).eval()
    x = torch.randn(4, 6)
    assert torch.allclose(pruned(x), twin(x), atol=1e-5)
    pruned.train()(x).sum().backward()
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(dense())


def quantised() -> nn.Module:
    network = nn.Sequential(nn.Linear(6, 5))
    network[0].register_buffer("codes", torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8))
    return network


class Sparse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(6).to_sparse())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sparse.mm(self.weight, x.mT).mT


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (
            lambda: nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2)),
            "module '0' .*not initialised.*Call model",
        ),
        (lambda: nn.Sequential(nn.Linear(6, 4, device="meta")), "module '0' .*meta device.*to_empty"),
        (lambda: nn.DataParallel(dense()), "DataParallel.*Give its .module"),
        (scripted, "is scripted.*script what comes out"),
        (lambda: torch.compile(dense(), backend="eager"), "is compiled.*compile what comes out"),
        (Sparse, "parameter weight, which is sparse.*to_dense"),
        (quantised, "module '0' .*codes, which is quantised"),
    ],
)
def test_networks_that_cannot_be_cut_are_refused_with_the_way_out(build, words):
    with pytest.raises(InputError, match=words):
        trace(build(), torch.zeros(1, 6))


class Added(nn.Module):
    """Adds as networks do that are written for quantisation-aware training: in floating point."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.last = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(8, 5)
        self.plus = torch.ao.nn.quantized.FloatFunctional()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.plus.add(self.left(x), self.right(x)))


def test_sums_written_for_quantisation_are_no_quantised_modules():
    assert [group.channels for group in trace(Added(), torch.zeros(1, 6)).groups] == [8]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_networks_of_half_precision_are_traced(dtype):
    graph = trace(dense().to(dtype), torch.zeros(1, 6, dtype=dtype))
    assert {group.name: group.channels for group in graph.groups} == {"0": 16, "2": 12}


def test_tensors_made_in_inference_mode_are_no_hindrance():
    with torch.inference_mode():
        model = dense()
        model.register_buffer("scale", torch.ones(3))
    graph = trace(model, torch.zeros(1, 6))
    assert {group.name: group.channels for group in graph.groups} == {"0": 16, "2": 12}
