"""Networks of many kinds: what is offered prunes, trains, exports and means what it should; the rest has a reason."""

from __future__ import annotations

import copy
import functools
import math
from typing import ClassVar

import espalier_test_architectures as zoo
import pytest
import torch

from espalier.spaces import Policy, prune, rank, trace
from espalier.testing.architectures import ArchitectureContract

IMAGE, WORDS = torch.zeros(1, 3, 16, 16), torch.arange(9).view(1, 9)


class OfTheZoo(ArchitectureContract):
    """A network of architectures.py. Its groups and what is frozen besides the outputs were found by hand."""

    kind: str
    expected_frozen = frozenset()

    @classmethod
    def model(cls) -> torch.nn.Module:
        return getattr(zoo, cls.kind)()


class TestTagger(OfTheZoo):
    kind = "Tagger"
    example_input = WORDS
    expected_groups: ClassVar = {"words": 24, "lstm": 16, "hidden": 20}


class TestUNet(OfTheZoo):
    kind = "UNet"
    example_input = IMAGE
    expected_groups: ClassVar = {
        "down1.0": 8,
        "down1.3": 8,
        "down2.0": 16,
        "down2.3": 16,
        "bottom.0": 32,
        "bottom.3": 32,
        "up2": 16,
        "merge2.0": 16,
        "merge2.3": 16,
        "up1": 8,
        "merge1.0": 8,
        "merge1.3": 8,
    }


class TestDetector(OfTheZoo):
    kind = "Detector"
    example_input = IMAGE
    expected_groups: ClassVar = {
        "stem": 16,
        "fine.split": 8,
        "fine.branch": 8,
        "fine.merge": 16,
        "down": 32,
        "coarse.split": 16,
        "coarse.branch": 16,
        "coarse.merge": 32,
        "lateral": 16,
        "fused.split": 16,
        "fused.branch": 16,
        "fused.merge": 32,
    }


class TestSequence1d(OfTheZoo):
    kind = "Sequence1d"
    example_input = torch.zeros(1, 4, 16)
    expected_groups: ClassVar = {"first": 4, "last": 12}


class TestRecurrent(OfTheZoo):
    kind = "Recurrent"
    example_input = torch.zeros(1, 6)
    expected_groups: ClassVar = {"enter": 16}


class TestWeightNormed(OfTheZoo):
    kind = "WeightNormed"
    example_input = IMAGE
    expected_groups: ClassVar = {"first": 12, "second": 16}


class TestLooseParameters(OfTheZoo):
    kind = "LooseParameters"
    example_input = torch.zeros(1, 3, 8, 8)
    expected_groups: ClassVar = {"conv": 16, "mix": 16}


class TestDecoder(OfTheZoo):
    kind = "Decoder"
    example_input = WORDS
    expected_groups: ClassVar = {
        "words": 32,
        "layers.0.q": 2,
        "layers.0.gate": 64,
        "layers.1.q": 2,
        "layers.1.gate": 64,
    }


class TestFusedAttention(OfTheZoo):
    kind = "FusedAttention"
    example_input = torch.zeros(1, 7, 5)
    expected_groups: ClassVar = {"enter": 16, "qkv": 4}


class TestNamedInputs(OfTheZoo):
    kind = "NamedInputs"
    example_input: ClassVar = {"image": torch.zeros(1, 4), "text": torch.zeros(1, 6)}
    expected_groups: ClassVar = {"image": 16, "text": 16}


class TestTwoInputs(OfTheZoo):
    kind = "TwoInputs"
    example_input = (torch.zeros(1, 4), torch.zeros(1, 6))
    expected_groups: ClassVar = {"image": 16, "text": 16}


class TestShuffled(OfTheZoo):
    kind = "Shuffled"
    example_input = IMAGE
    expected_groups: ClassVar = {"enter": 8, "grouped": 8, "leave": 8}


class TestSuperResolution(OfTheZoo):
    kind = "SuperResolution"
    example_input = IMAGE
    expected_groups: ClassVar = {"first": 16, "spread": 8}


class TestGated(OfTheZoo):
    kind = "Gated"
    example_input = IMAGE
    expected_groups: ClassVar = {"conv": 12, "squeeze": 4, "unit": 10}
    expected_frozen = frozenset({"where"})


class TestTextClassifier(OfTheZoo):
    kind = "TextClassifier"
    example_input = (WORDS, torch.arange(9).view(1, 9) > 6)
    expected_groups: ClassVar = {
        "words": 24,
        "encoder.layers.0.self_attn": 4,
        "encoder.layers.0.linear1": 40,
        "encoder.layers.1.self_attn": 4,
        "encoder.layers.1.linear1": 40,
    }


class TestTranslator(OfTheZoo):
    kind = "Translator"
    example_input = (torch.zeros(1, 5, 6), torch.zeros(1, 4, 7))
    expected_groups: ClassVar = {
        "source": 16,
        "transformer.encoder.layers.0.self_attn": 4,
        "transformer.encoder.layers.0.linear1": 20,
        "transformer.decoder.layers.0.self_attn": 4,
        "transformer.decoder.layers.0.multihead_attn": 4,
        "transformer.decoder.layers.0.linear1": 20,
    }


class TestCrossAttention(OfTheZoo):
    kind = "CrossAttention"
    example_input = (torch.zeros(1, 5, 6), torch.zeros(1, 4, 7), torch.zeros(1, 5, 4))
    expected_groups: ClassVar = {"query": 24, "key": 10, "value": 12, "attention": 4, "attention.out_proj": 24}


class TestDeepTagger(OfTheZoo):
    kind = "DeepTagger"
    example_input = torch.zeros(1, 5, 6)
    expected_groups: ClassVar = {"enter": 10, "lstm": 8}


class TestStatedGRU(OfTheZoo):
    kind = "StatedGRU"
    example_input = torch.zeros(1, 4, 5)
    expected_groups: ClassVar = {"gated": 8, "plain": 6}


class TestCellByCell(OfTheZoo):
    kind = "CellByCell"
    example_input = torch.zeros(1, 4, 5)
    expected_groups: ClassVar = {"cell": 8}


@pytest.fixture(scope="module")
def traced():
    @functools.cache
    def trace_once(name: str):
        kind = globals()[f"Test{name}"]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = kind.model().eval()
        return model, trace(model, kind.example_input)

    return trace_once


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
