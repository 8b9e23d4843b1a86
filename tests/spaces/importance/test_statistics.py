"""What is gathered from samples, against values computed by hand or one sample at a time."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from espalier_test_networks import INPUTS, Concatenated, Perceptron, Residual, seeded
from torch import nn

from espalier.errors import InputError
from espalier.spaces import Graph, Group, Samples, Slice, rank, trace
from espalier.spaces.importance.activations import mean_activations
from espalier.spaces.importance.fisher import mean_squared_gradients, sample_changes
from espalier.spaces.importance.samples import at_most, batch_size
from espalier.spaces.importance.statistics import gather
from espalier.spaces.inputs import call, map_tensors

CLASSES = {Residual: 5, Concatenated: 4, Perceptron: 3}


def _samples(build, count=20, size=8):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, *INPUTS[build].shape[1:], generator=generator)
    y = torch.randint(0, CLASSES[build], (count,), generator=generator)
    return Samples(list(zip(x.split(size), y.split(size), strict=True)), F.cross_entropy)


def _one_at_a_time(model, samples):
    total, count = {n: torch.zeros_like(p) for n, p in model.named_parameters()}, 0
    for inputs, targets in samples.batches:
        for i in range(len(targets)):
            one = map_tensors(lambda t, i=i: t[i : i + 1], inputs)
            loss = samples.loss(call(model, one), targets[i : i + 1])
            gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
            for name, gradient in zip(total, gradients, strict=True):
                total[name] += 0 if gradient is None else gradient.square()
            count += 1
    return {name: square / count for name, square in total.items()}


def _assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, square in expected.items():
        torch.testing.assert_close(found[name], square, rtol=1e-3, atol=1e-7)


def test_the_fisher_information_of_a_regression_by_hand():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 2.0)
    x, y = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[1.0], [5.0], [6.0]])
    found = mean_squared_gradients(model, Samples([(x, y)], lambda o, t: 0.5 * (o - t).square().mean()))
    # Gradients (w x - y) x: 1, -2, 0. Their sum is -1, so the squared gradient of the batch would say far less.
    assert found["weight"].item() == pytest.approx((1 + 4 + 0) / 3)


def test_the_changes_of_each_sample_by_hand():
    model = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[2.0, 3.0]]))
    x = torch.tensor([[1.0, 1.0], [0.0, -2.0], [5.0, 0.0]])
    found = sample_changes(model, Samples([(x[:2], x[:2]), (x[2:], x[2:])], lambda o, t: o.sum()))
    torch.testing.assert_close(found["weight", 1], torch.tensor([[2.0, 3.0], [0.0, -6.0], [10.0, 0.0]]))
    torch.testing.assert_close(found["weight", 0], torch.tensor([[5.0], [-6.0], [10.0]]))


@pytest.mark.parametrize("build", [Residual, Concatenated, Perceptron])
def test_gradients_of_samples_together_are_those_of_one_at_a_time(build):
    model, samples = seeded(build), _samples(build)
    _assert_same(mean_squared_gradients(model, samples), _one_at_a_time(model, samples))


class Tagger(nn.Module):
    """An embedding, a recurrent layer and attention, for which torch.func has no rule on a CPU but a loop."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.recurrent = nn.LSTM(8, 8, batch_first=True)
        self.attention = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens):
        return self.head(self.attention(self.recurrent(self.embedding(tokens))[0]).mean(1))


@pytest.mark.filterwarnings("error")
def test_recurrent_layers_and_attention_agree_too():
    torch.manual_seed(0)
    model = Tagger().eval()
    tokens = torch.randint(0, 20, (6, 5))
    samples = Samples([({"tokens": tokens}, torch.arange(6) % 3)], F.cross_entropy)
    _assert_same(mean_squared_gradients(model, samples), _one_at_a_time(model, samples))


class Deciding(nn.Module):
    """Looks at a value to decide, which torch.func cannot follow; takes a dict, and shares a layer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x, sign):
        x = self.first(torch.relu(self.first(x))) if bool((x.sum() > 0).item()) else self.first(x)
        return self.head(x * sign)


def test_networks_that_torch_func_cannot_follow_go_one_by_one():
    torch.manual_seed(0)
    model = Deciding()
    inputs = {"x": torch.randn(6, 4), "sign": torch.ones(6, 1)}
    samples = Samples([(inputs, torch.arange(6) % 2)], F.cross_entropy)
    _assert_same(mean_squared_gradients(model, samples), _one_at_a_time(model, samples))


def test_a_batch_whose_samples_cannot_be_told_apart_counts_as_one():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 2.0)
    x, boxes = torch.tensor([[1.0], [2.0]]), [torch.ones(3), torch.ones(5)]
    assert batch_size((x, boxes)) is None
    found = mean_squared_gradients(model, Samples([(x, boxes)], lambda o, t: o.sum() * sum(b.sum() for b in t)))
    assert found["weight"].item() == pytest.approx((3 * 8) ** 2)


def test_at_most_so_many_samples_are_taken():
    batches = [(torch.zeros(10, 2), torch.zeros(10))] * 5
    assert [len(y) for _, y in at_most(batches, 25)] == [10, 10, 5]
    ragged = [(torch.zeros(10, 2), [torch.ones(1), torch.ones(2)])] * 5
    assert len(at_most(ragged, 25)) == 3


def test_activations_of_tokens_are_means_over_samples_and_positions():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, -1.0], [0.0, 0.0]]))
        model[0].bias.copy_(torch.tensor([0.0, 0.0, -1.0]))
    tokens = torch.tensor([[[1.0, 2.0], [3.0, -4.0]], [[-5.0, 0.0], [1.0, -2.0]]])  # (N, T, C)
    halves = Samples([(tokens[:1], None), (tokens[1:], None)], lambda o, t: o.sum())
    found = mean_activations(model, halves)
    torch.testing.assert_close(found.read["0"], torch.tensor([10 / 4, 8 / 4]))
    torch.testing.assert_close(found.written["0"], torch.tensor([10 / 4, 8 / 4, 1.0]))
    torch.testing.assert_close(found.read["2"], torch.tensor([5 / 4, 6 / 4, 0.0]))


def test_nothing_is_gathered_that_nobody_asked_for():
    model = seeded(Perceptron)
    empty = gather(model)
    assert not empty.gradients
    assert not empty.squared_gradients
    assert not empty.activations.read
    statistics = gather(model, ["activations"], _samples(Perceptron))
    assert statistics.activations.read.keys() == {"first", "second", "head"}
    assert not statistics.gradients
    assert not statistics.squared_gradients
    with pytest.raises(InputError, match="activations, gradients"):
        gather(model, ["gradients", "activations"])


def _trained(seed=0):
    """Return a trained network of 16 hidden channels, and samples."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(512, 6, generator=generator)
    y = (x[:, 0] * x[:, 1] > 0).long() + (x[:, 2] > 0).long()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.zero_grad()
    return model.eval(), Samples([(x[:256], y[:256])], F.cross_entropy)


@pytest.mark.parametrize(("name", "useless"), [("taylor", {2, 5}), ("hessian", {2, 5}), ("activation", {5})])
def test_useless_channels_go_first(name, useless):
    model, samples = _trained()
    with torch.no_grad():
        model[2].weight[:, 2] = 0  # never read
        model[0].bias[5] = -100  # always off
    ranking = rank(model, trace(model, torch.zeros(1, 6)), [name], samples=samples).of(name, "0")
    assert set(ranking[-len(useless) :]) == useless


def _true_changes(model, samples):
    ((x, y),) = samples.batches
    with torch.no_grad():
        hidden = torch.relu(model[0](x))
        for channel in range(16):
            keep = torch.ones(16)
            keep[channel] = 0
            yield F.cross_entropy(model[2](hidden * keep), y).item()


@pytest.mark.parametrize("name", ["lamp", "taylor", "hessian", "activation"])
def test_rankings_agree_with_the_true_change_of_the_loss(name):
    correlations = []
    for seed in range(8):
        model, samples = _trained(seed)
        ranking = rank(model, trace(model, torch.zeros(1, 6)), [name], samples=samples).of(name, "0")
        true = torch.tensor(list(_true_changes(model, samples))).argsort(descending=True).argsort()
        found = torch.tensor(ranking).argsort()
        correlations.append(torch.corrcoef(torch.stack([true, found]).double())[0, 1].item())
    mean = sum(correlations) / len(correlations)
    assert mean > 0.2  # of random rankings the mean has a standard deviation of 0.09


class Gated(nn.Module):
    """A branch behind a gate that is shut: it runs, and no gradient reaches it."""

    def __init__(self):
        super().__init__()
        self.branch = nn.Linear(4, 8)
        self.back = nn.Linear(8, 4)
        self.head = nn.Linear(4, 2)
        self.register_buffer("gate", torch.zeros(()))

    def forward(self, x):
        return self.head(x + self.gate * self.back(torch.relu(self.branch(x))))


def _hidden_group(channels, *slices):
    rows = tuple((i,) for i in range(channels))
    return Graph((Group("hidden", channels, tuple(Slice(n, d, rows, d == 0) for n, d in slices), "exact", 0),), (), "x")


@pytest.mark.parametrize("name", ["taylor", "hessian"])
def test_channels_without_a_gradient_are_ranked_by_l2_with_a_warning(name):
    torch.manual_seed(0)
    model, graph = Gated(), _hidden_group(8, ("branch.weight", 0), ("back.weight", 1))
    samples = Samples([(torch.randn(4, 4), torch.arange(4) % 2)], F.cross_entropy)
    with pytest.warns(UserWarning, match="1 of 1 groups by l2"):
        found = rank(model, graph, [name, "l2"], samples=samples)
    assert found.of(name, "hidden") == found.of("l2", "hidden")


class Functional(nn.Module):
    """Weights that no layer holds, so that no hook sees what flows through them."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Parameter(torch.randn(8, 4))
        self.outer = nn.Parameter(torch.randn(2, 8))

    def forward(self, x):
        return F.linear(torch.relu(F.linear(x, self.inner)), self.outer)


def test_channels_that_no_layer_reads_are_ranked_by_l2_with_a_warning():
    torch.manual_seed(0)
    model, graph = Functional(), _hidden_group(8, ("inner", 0), ("outer", 1))
    samples = Samples([(torch.randn(4, 4), torch.arange(4) % 2)], F.cross_entropy)
    with pytest.warns(UserWarning, match="'activation' ranks 1 of 1 groups by l2"):
        found = rank(model, graph, ["activation", "l2"], samples=samples)
    assert found.of("activation", "hidden") == found.of("l2", "hidden")
