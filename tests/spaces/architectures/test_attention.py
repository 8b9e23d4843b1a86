"""PyTorch's multi-head attention: freed, it computes the same; pruned, its heads go whole; what cannot is frozen."""

from __future__ import annotations

import copy
import itertools

import espalier_test_architectures as zoo
import pytest
import torch
from torch import nn

from espalier.evaluators.counting import count_macs
from espalier.spaces import Policy, prune, trace
from espalier.spaces.architectures.attention import HeadAttention, free_heads_
from espalier.spaces.inputs import call

LENGTH, KEYS, WIDTH, HEADS, BATCH = 5, 4, 12, 3, 2
OPTIONS = [
    {},
    {"bias": False, "batch_first": True},
    {"kdim": 7, "vdim": 9, "add_bias_kv": True},
    {"add_bias_kv": True, "add_zero_attn": True, "batch_first": True},
    {"kdim": 7, "bias": False, "add_zero_attn": True},
]


def _attention(**options: object) -> nn.MultiheadAttention:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(WIDTH, HEADS, **options).eval()  # pyright: ignore[reportArgumentType]
    for parameter in attention.parameters():
        nn.init.normal_(parameter, std=0.5)
    return attention


def _freed(attention: nn.MultiheadAttention) -> nn.MultiheadAttention:
    freed = copy.deepcopy(attention)
    free_heads_(freed)
    assert type(freed) is HeadAttention
    return freed


def _inputs(attention: nn.MultiheadAttention, *, batched: bool = True) -> tuple[torch.Tensor, ...]:
    def draw(length: int, width: int) -> torch.Tensor:
        if not batched:
            return torch.randn(length, width)
        return torch.randn(*((BATCH, length) if attention.batch_first else (length, BATCH)), width)

    return draw(LENGTH, WIDTH), draw(KEYS, attention.kdim), draw(KEYS, attention.vdim)


def _assert_same(freed: nn.Module, attention: nn.Module, *args: object, **kwargs: object) -> None:
    found, wanted = freed(*args, **kwargs), attention(*args, **kwargs)
    for one, other in zip(found, wanted, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_freed_attention_computes_the_same_with_every_mask(options):
    attention = _attention(**options)
    freed = _freed(attention)
    masks = [None, torch.rand(LENGTH, KEYS) > 0.7, torch.randn(BATCH * HEADS, LENGTH, KEYS)]
    paddings = [None, torch.arange(KEYS).expand(BATCH, -1) > 2, torch.randn(BATCH, KEYS)]
    for mask, padding, weights, average in itertools.product(masks, paddings, (True, False), (True, False)):
        if mask is not None and mask.dtype == torch.bool:
            mask[:, 0] = False  # a query that sees nothing is NaN in PyTorch
        _assert_same(
            freed, attention, *_inputs(attention), attn_mask=mask, key_padding_mask=padding, need_weights=weights,
            average_attn_weights=average,
        )  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_freed_attention_computes_the_same_without_a_batch(options):
    attention = _attention(**options)
    padding = torch.arange(KEYS) > 2
    _assert_same(_freed(attention), attention, *_inputs(attention, batched=False), key_padding_mask=padding)


def test_freed_attention_knows_self_attention_and_causality():
    attention = _attention()
    x, mask = torch.randn(LENGTH, BATCH, WIDTH), nn.Transformer.generate_square_subsequent_mask(LENGTH)
    for weights in (True, False):
        _assert_same(_freed(attention), attention, x, x, x, attn_mask=mask, is_causal=True, need_weights=weights)
        _assert_same(_freed(attention), attention, x, x, x + 1, need_weights=weights)
        with pytest.raises(RuntimeError, match="attn_mask"):
            _freed(attention)(x, x, x, is_causal=True, need_weights=weights)


def test_freed_attention_drops_out_while_it_trains():
    freed = _freed(_attention(dropout=0.5)).train()
    x = torch.randn(LENGTH, BATCH, WIDTH)
    for weights in (True, False):
        first, second = (freed(x, x, x, need_weights=weights)[0] for _ in range(2))
        assert not torch.equal(first, second)


def test_classes_derived_from_pytorchs_stay_what_they_are():
    class Own(nn.MultiheadAttention):
        pass

    own = Own(WIDTH, HEADS)
    free_heads_(own)
    assert type(own) is Own


def test_a_head_leaves_every_projection_and_the_names_stay():
    model = zoo.CrossAttention().eval()
    example = (torch.zeros(1, 5, 6), torch.zeros(1, 4, 7), torch.zeros(1, 5, 4))
    graph = trace(model, example)
    assert {g.verification for g in graph} == {"exact"}
    small = prune(model, graph, Policy.from_kept(graph, {"attention": 3, "query": 20, "key": 6, "value": 7}))
    attention = small.attention
    shapes = {name: tuple(p.shape) for name, p in attention.named_parameters()}
    assert shapes == {
        "q_proj_weight": (18, 20),
        "k_proj_weight": (18, 6),
        "v_proj_weight": (18, 7),
        "in_proj_bias": (54,),
        "bias_k": (1, 1, 18),
        "bias_v": (1, 1, 18),
        "out_proj.weight": (24, 18),
        "out_proj.bias": (24,),
    }
    assert list(shapes) == [name for name, _ in model.attention.named_parameters()]
    assert (attention.num_heads, attention.head_dim, attention.embed_dim) == (3, 6, 20)
    assert (attention.kdim, attention.vdim) == (6, 7)
    assert type(model.attention) is nn.MultiheadAttention
    queries, keys = 5, 4
    inside = queries * 18 * 20 + keys * 18 * (6 + 7) + 2 * queries * (keys + 2) * 18 + queries * 24 * 18
    around = queries * 20 * 6 + keys * (6 + 7) * 7 + queries * 24 * 3
    assert count_macs(small, example) == inside + around


def test_attention_that_loses_nothing_stays_pytorchs():
    model = zoo.TextClassifier().eval()
    graph = trace(model, (torch.arange(9).view(1, 9), torch.arange(9).view(1, 9) > 6))
    small = prune(model, graph, Policy.from_kept(graph, {"encoder.layers.1.linear1": 20}))
    assert type(small.encoder.layers[0].self_attn) is nn.MultiheadAttention
    assert small.encoder.use_nested_tensor


def test_a_pruned_encoder_runs_in_pytorchs_fused_mode_as_by_its_parts():
    model = zoo.TextClassifier().eval()
    example = (torch.arange(18).view(2, 9), torch.arange(9).expand(2, 9) > 6)
    graph = trace(model, (example[0][:1], example[1][:1]))
    for kept in ({"encoder.layers.0.self_attn": 2}, {"encoder.layers.1.self_attn": 2}, {"words": 10}):
        small = prune(model, graph, Policy.from_kept(graph, kept))
        with torch.no_grad():
            torch.testing.assert_close(small(*example), call(small, example), atol=1e-5, rtol=1e-4)


class _Masked(nn.Module):
    """Attention with a mask for each head, either brought or made from a number kept."""

    def __init__(self, *, brought: bool) -> None:
        super().__init__()
        self.brought, self.heads = brought, 4
        self.enter, self.leave = nn.Linear(5, 16), nn.Linear(16, 3)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if not self.brought:
            mask = torch.zeros(x.shape[0] * self.heads, 6, 6)
        x = self.enter(x)
        return self.leave(self.attention(x, x, x, attn_mask=mask, need_weights=False)[0])


def test_a_mask_for_each_head_freezes_the_heads_unless_it_can_follow():
    example = (torch.zeros(1, 6, 5), torch.zeros(4, 6, 6))
    graph = trace(_Masked(brought=True).eval(), example)
    assert [g.name for g in graph] == ["enter", "attention.out_proj"]
    assert "input" in next(f.reason for f in graph.frozen if f.name == "attention")
    model = _Masked(brought=False).eval()
    graph = trace(model, example)
    assert graph.group("attention").channels == 4
    small = prune(model, graph, Policy.from_kept(graph, {"attention": 3}))
    assert (small.heads, small.attention.num_heads) == (3, 3)


class _Weights(nn.Module):
    """The weights themselves are an output."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.attention = nn.Linear(5, 16), nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.enter(x)
        y, weights = self.attention(x, x, x, average_attn_weights=False)
        return y, weights


def test_heads_whose_weights_are_an_output_are_frozen():
    graph = trace(_Weights().eval(), torch.zeros(1, 6, 5))
    assert "attention" not in {g.name for g in graph}
    assert "output" in next(f.reason for f in graph.frozen if f.name == "attention")


def test_as_many_heads_are_offered_as_the_widths_of_a_device_allow():
    graph = trace(_Masked(brought=False).eval(), (torch.zeros(1, 6, 5), torch.zeros(4, 6, 6)))
    heads = graph.group("attention")  # of four channels each
    assert [heads.widths(multiple) for multiple in (1, 4, 8, 16)] == [(1, 2, 3, 4), (1, 2, 3, 4), (2, 4), (4,)]
    assert graph.group("enter").widths(8) == (8, 16)
    graph = trace(zoo.DeepTagger().eval(), torch.zeros(1, 5, 6))
    assert graph.group("lstm").widths(4) == (4, 8)
    graph = trace(zoo.FusedAttention().eval(), torch.zeros(1, 7, 5))
    assert graph.group("qkv").widths(4) == (2, 4)
