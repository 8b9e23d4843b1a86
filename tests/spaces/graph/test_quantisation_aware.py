"""Networks prepared for quantisation-aware training: their channels are offered, and their scales follow."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn

from espalier.spaces import Policy, prune, rank, trace
from espalier.spaces.graph.slicing import positions_of, zeroed
from espalier.testing.architectures import unlisted_weights

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.ao.nn.quantized import FloatFunctional
    from torch.ao.quantization import (
        DeQuantStub,
        QConfig,
        QuantStub,
        default_fake_quant,
        default_per_channel_weight_fake_quant,
        disable_fake_quant,
        fuse_modules_qat,
        get_default_qat_qconfig,
        prepare_qat,
    )

pytestmark = pytest.mark.filterwarnings("ignore")
IMAGES = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class Residual(nn.Module):
    """A depthwise convolution, batch normalisations to fuse, and a sum that is rounded, too."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm, self.stem_act = nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU()
        self.each, self.each_norm = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.BatchNorm2d(16)
        self.inner, self.outer = nn.Conv2d(16, 24, 1), nn.Conv2d(24, 16, 1)
        self.head, self.sum = nn.Linear(16, 5), FloatFunctional()
        self.enter, self.leave = QuantStub(), DeQuantStub()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem_act(self.stem_norm(self.stem(self.enter(x))))
        x = self.sum.add(x, self.outer(torch.relu(self.inner(self.each_norm(self.each(x))))))
        return self.leave(self.head(x.mean((2, 3))))


def prepared(*, fused: bool, config: object, observed: bool = True) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = Residual().train()
    if fused:
        network = fuse_modules_qat(network, [["stem", "stem_norm", "stem_act"], ["each", "each_norm"]])
    network.qconfig = config  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType] - read by prepare_qat
    prepare_qat(network, inplace=True)
    if observed:
        network(IMAGES)
    return network.eval()


def by_channel() -> object:
    return get_default_qat_qconfig("fbgemm")


def unfused_rounding() -> object:
    return QConfig(activation=default_fake_quant, weight=default_per_channel_weight_fake_quant)


KINDS: dict[str, Callable[[], nn.Module]] = {
    "by channel": lambda: prepared(fused=False, config=by_channel()),
    "by channel, fused": lambda: prepared(fused=True, config=by_channel()),
    "by channel, never observed": lambda: prepared(fused=True, config=by_channel(), observed=False),
    "by tensor, fused": lambda: prepared(fused=True, config=get_default_qat_qconfig("qnnpack")),
    "rounding apart from observing": lambda: prepared(fused=False, config=unfused_rounding()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_channels_are_offered_and_pruned_networks_train(kind):
    network = KINDS[kind]()
    graph = trace(network, IMAGES[:1])
    assert {g.name: g.channels for g in graph} == {"stem": 16, "inner": 24}
    assert all(g.verification == "exact" for g in graph)
    assert unlisted_weights(network, graph) == []
    small = prune(network, graph, Policy.uniform(graph, 0.5))
    assert small.stem.weight.shape == (8, 3, 3, 3)
    loss = small.train()(IMAGES).square().mean()
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in small.parameters())
    assert small.eval()(IMAGES).shape == (4, 5)


@pytest.mark.parametrize("kind", ["by channel", "rounding apart from observing"])
def test_scales_are_those_of_the_channels_that_stay(kind):
    network = KINDS[kind]()
    graph = trace(network, IMAGES[:1])
    rankings = rank(network, graph, ["l2"])
    small = prune(network, graph, Policy.from_kept(graph, {"inner": 9}), rankings=rankings)
    kept = sorted(rankings.of("l2", "inner")[:9])
    before, after = (n.get_submodule("inner.weight_fake_quant") for n in (network, small))
    for name in ("scale", "activation_post_process.min_val", "activation_post_process.max_val"):
        assert torch.equal(after.get_buffer(name), before.get_buffer(name)[kept]), name


def test_a_pruned_network_that_does_not_round_equals_its_masked_twin():
    network = KINDS["by channel"]()
    network.apply(disable_fake_quant)
    graph = trace(network, IMAGES[:1])
    rankings = rank(network, graph, ["l2"])
    small = prune(network, graph, Policy.uniform(graph, 0.5), rankings=rankings)
    gone = [(g, rankings.of("l2", g.name)[g.channels // 2 :]) for g in graph]
    twin = zeroed(network, positions_of(gone))
    with torch.no_grad():
        torch.testing.assert_close(small(IMAGES), twin(IMAGES), atol=1e-5, rtol=0)


def test_tracing_leaves_the_network_observing_and_rounding():
    network = KINDS["by channel, fused"]()
    before, kind = copy.deepcopy(network.state_dict()), type(network.stem)
    trace(network, IMAGES[:1])
    assert type(network.stem) is kind
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
