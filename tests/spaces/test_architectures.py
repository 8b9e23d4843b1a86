"""Networks of many kinds: what is offered prunes, trains, exports and means what it should; the rest has a reason."""

from __future__ import annotations

import copy
import math

import espalier_test_architectures as zoo
import numpy as np
import onnxruntime
import pytest
import torch
from torch.utils._pytree import tree_flatten

from espalier.evaluators.onnx_export import export_onnx, onnx_feed
from espalier.spaces import Policy, fingerprint, prune, rank, trace
from espalier.spaces.inputs import call, random_like, tensors_of

IMAGE, WORDS = torch.zeros(1, 3, 16, 16), torch.arange(9).view(1, 9)
# For each network: an example input, the channels of each group found by hand, and what is frozen besides the outputs.
CASES = {
    "Tagger": (WORDS, {"hidden": 20}, {"words"}),
    "UNet": (
        IMAGE,
        {"down1.0": 8, "down1.3": 8, "down2.0": 16, "down2.3": 16, "bottom.0": 32, "bottom.3": 32, "up2": 16}
        | {"merge2.0": 16, "merge2.3": 16, "up1": 8, "merge1.0": 8, "merge1.3": 8},
        set(),
    ),
    "Detector": (
        IMAGE,
        {"stem": 16, "fine.split": 8, "fine.branch": 8, "fine.merge": 16, "down": 32, "coarse.split": 16}
        | {
            "coarse.branch": 16,
            "coarse.merge": 32,
            "lateral": 16,
            "fused.split": 16,
            "fused.branch": 16,
            "fused.merge": 32,
        },
        set(),
    ),
    "Sequence1d": (torch.zeros(1, 4, 16), {"first": 4, "last": 12}, set()),
    "Recurrent": (torch.zeros(1, 6), {"enter": 16}, set()),
    "WeightNormed": (IMAGE, {"first": 12, "second": 16}, set()),
    "LooseParameters": (torch.zeros(1, 3, 8, 8), {"conv": 16, "mix": 16}, set()),
    "Decoder": (
        WORDS,
        {"words": 32, "layers.0.q": 2, "layers.0.gate": 64, "layers.1.q": 2, "layers.1.gate": 64},
        set(),
    ),
    "FusedAttention": (torch.zeros(1, 7, 5), {"enter": 16, "qkv": 4}, set()),
    "NamedInputs": ({"image": torch.zeros(1, 4), "text": torch.zeros(1, 6)}, {"image": 16, "text": 16}, set()),
    "TwoInputs": ((torch.zeros(1, 4), torch.zeros(1, 6)), {"image": 16, "text": 16}, set()),
    "Shuffled": (IMAGE, {"enter": 8, "grouped": 8, "leave": 8}, set()),
    "SuperResolution": (IMAGE, {"first": 16, "spread": 8}, set()),
    "Gated": (IMAGE, {"conv": 12, "squeeze": 4, "unit": 10}, {"where"}),
}


def _build(name: str) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return getattr(zoo, name)().eval()


@pytest.fixture(scope="module")
def traced():
    found = {}

    def trace_once(name: str):
        if name not in found:
            model = _build(name)
            found[name] = (model, trace(model, CASES[name][0]))
        return found[name]

    return trace_once


@pytest.mark.parametrize("name", CASES)
def test_the_groups_are_the_ones_found_by_hand(traced, name):
    _, graph = traced(name)
    assert {g.name: g.channels for g in graph.groups} == CASES[name][1]
    others = {f.name for f in graph.frozen if "output of the network" not in f.reason}
    assert others == CASES[name][2]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("sparsity", [0.3, 0.7, 0.99])
def test_every_uniform_policy_runs_trains_and_keeps_every_output_shape(traced, name, sparsity):
    model, graph = traced(name)
    small = prune(model, graph, Policy.uniform(graph, sparsity))
    probe = random_like(CASES[name][0], torch.Generator().manual_seed(3), batch=3)
    expected, outputs = tensors_of(call(model, probe)), tensors_of(call(small, probe))
    assert [t.shape for t in outputs] == [t.shape for t in expected]
    assert tree_flatten(call(model, probe))[1] == tree_flatten(call(small, probe))[1]
    sum(t.sum() for t in outputs).backward()
    gradients = [p.grad for p in small.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(g).all() for g in gradients)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", CASES)
def test_pruned_networks_are_exported_as_they_are(traced, name):
    model, graph = traced(name)
    small = prune(model, graph, Policy.uniform(graph, 0.5))
    example = random_like(CASES[name][0], torch.Generator().manual_seed(4), batch=1)
    session = onnxruntime.InferenceSession(export_onnx(small, example), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = tensors_of(call(small, example))
    for found, wanted in zip(session.run(None, onnx_feed(example)), expected, strict=True):
        scale = float(wanted.abs().max()) or 1.0
        assert np.abs(found - wanted.numpy()).max() <= 1e-4 * scale


@pytest.mark.parametrize("name", CASES)
def test_weights_are_saved_and_loaded_and_the_network_stays_as_it_was(traced, name):
    model, graph = traced(name)
    before = copy.deepcopy(model.state_dict())
    policy = Policy.uniform(graph, 0.5)
    rankings = rank(model, graph, ["l2"])
    small, again = (prune(model, graph, policy, rankings=rankings) for _ in range(2))
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.add_(0.1)
    again.load_state_dict(small.state_dict())
    probe = random_like(CASES[name][0], torch.Generator().manual_seed(5))
    for left, right in zip(tensors_of(call(small, probe)), tensors_of(call(again, probe)), strict=True):
        assert torch.equal(left, right)
    assert fingerprint(small) == fingerprint(again) != fingerprint(model)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_shared_weights_stay_shared(traced):
    model, graph = traced("Decoder")
    small = prune(model, graph, Policy.from_kept(graph, {"words": 12}))
    assert small.head.weight is small.words.weight
    assert (small.head.in_features, small.words.embedding_dim) == (12, 12)


def test_heads_go_whole_with_every_number_that_counts_them(traced):
    model, graph = traced("FusedAttention")
    small = prune(model, graph, Policy.from_kept(graph, {"qkv": 3}))
    assert (small.num_heads, small.attn_dim, small.head_dim) == (3, 18, 6)
    assert (small.qkv.out_features, small.proj.in_features, tuple(small.bias.shape)) == (54, 18, (3, 7, 7))
    model, graph = traced("Decoder")
    small = prune(model, graph, Policy.from_kept(graph, {"layers.0.q": 1}))
    layer = small.layers[0]
    assert (layer.num_heads, layer.num_kv_heads, layer.q.out_features, layer.k.out_features) == (4, 1, 32, 8)
    assert (small.layers[1].num_heads, model.layers[0].num_heads) == (8, 8)


def test_a_head_that_is_removed_equals_a_head_that_is_masked(traced):
    model, graph = traced("FusedAttention")
    kept = rank(model, graph, ["l2"]).of("l2", "qkv")[:3]
    gone = next(h for h in range(4) if h not in kept)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.proj.weight[:, 6 * gone : 6 * gone + 6] = 0
    small = prune(model, graph, Policy.from_kept(graph, {"qkv": 3}))
    probe = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(6))
    torch.testing.assert_close(small(probe), twin(probe), atol=1e-5, rtol=1e-5)


def test_a_residual_stream_with_a_loose_parameter_is_cut_everywhere(traced):
    model, graph = traced("LooseParameters")
    small = prune(model, graph, Policy.from_kept(graph, {"conv": 5}))
    assert tuple(small.scale.shape) == (1, 5, 1, 1)
    assert tuple(small.token.shape) == (1, 1, 5)
    assert tuple(small.positions.shape) == (1, 65, 5)
    assert small.mix.in_features == 5
    assert math.prod(small.bias.shape) == 5
