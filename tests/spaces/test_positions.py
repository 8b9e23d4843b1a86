"""Channels told by their number or place are frozen with that reason; what only looks alike is offered."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from espalier.spaces import Policy, prune, trace
from espalier.spaces.graph.freeze_reasons import FreezeCode
from espalier.spaces.graph.groups import Graph

CLASSES = 12
Tail = Callable[["Scores", torch.Tensor], object]


class Scores(nn.Module):
    """Scores of classes, and what is done with them."""

    def __init__(self, tail: Tail, *, normalised: bool) -> None:
        super().__init__()
        self.body, self.score, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, CLASSES, 1), nn.Linear(CLASSES, 3)
        self.tail, self.normalised = tail, normalised
        self.register_buffer("values", torch.linspace(0, 1, CLASSES))
        self.kept_aside = torch.linspace(0, 1, CLASSES)  # no buffer

    def forward(self, x: torch.Tensor) -> object:
        scores = self.score(F.relu(self.body(x)).mean((2, 3), keepdim=True)).flatten(1)
        return self.tail(self, F.layer_norm(scores, scores.shape[1:]) if self.normalised else scores)


def steps(scores: torch.Tensor) -> torch.Tensor:
    return torch.linspace(0, 1, scores.shape[1])


def numbered(scores: torch.Tensor) -> torch.Tensor:
    return torch.stack([number * score for number, score in enumerate(scores.unbind(1))], 1).sum(1)


INDICES: dict[str, Tail] = {
    "argmax": lambda net, s: s.argmax(1),
    "argmin, then compared": lambda net, s: net.head(s) * (s.argmin(1, keepdim=True) > 3),
    "values and indices": lambda net, s: s.max(1),
    "indices of the median": lambda net, s: s.median(1).indices,
    "one-hot": lambda net, s: net.head(F.one_hot(s.argmax(1), CLASSES).float()),
    "largest kept": lambda net, s: net.head(torch.zeros_like(s).scatter(1, s.topk(3, 1).indices, 1.0) * s),
    "sorted": lambda net, s: net.head(s.sort(1).values),
    "counted": lambda net, s: torch.bincount(s.argmax(1), minlength=CLASSES),
    "hard Gumbel": lambda net, s: net.head(F.gumbel_softmax(s, hard=True)),
    "Python's index": lambda net, s: net.head(s)[:, int(s[0].argmax()) % 3],
    "Python's list": lambda net, s: torch.tensor([max(range(CLASSES), key=row.__getitem__) for row in s.tolist()]),
    "NumPy": lambda net, s: torch.from_numpy(s.detach().numpy().argmax(1)),
    "looked up": lambda net, s: F.embedding(s.argmax(1), net.head.weight.t()),
    "quantile": lambda net, s: s.quantile(0.5, 1) + s.sum(1),
    "k-th value": lambda net, s: s.kthvalue(3, 1).values,
    "k-th value, indices": lambda net, s: s.kthvalue(3, 1).indices,
    "indices of the mode": lambda net, s: s.mode(1).indices,
    "indices of the nanmedian": lambda net, s: s.nanmedian(1).indices,
    "argsort, first ones": lambda net, s: s.argsort(1)[:, :2] + 0 * net.head(s)[:, :2].long(),
    "places among the sorted": lambda net, s: s.round().unique(return_inverse=True)[1].float().mean(),
    "places among the sorted rows": lambda net, s: s.mean(0).unique(dim=0, return_inverse=True)[1].float().mean(),
    "drawn": lambda net, s: torch.multinomial(s.softmax(1), 1),
    "searched in the sum so far": lambda net, s: torch.searchsorted(
        s.softmax(1).cumsum(1), torch.full((len(s), 1), 0.5)
    ),
    "searched among channels": lambda net, s: torch.searchsorted(s, torch.zeros(len(s), 1)),
    "a number searched among channels": lambda net, s: torch.searchsorted(s[0], 0.5),
    "bins bounded by channels": lambda net, s: torch.bucketize(torch.zeros(len(s)), s[0]),
    "which are above": lambda net, s: (s[0] > -9).nonzero()[:3],
    "argmax into aminmax": lambda net, s: torch.aminmax(s.argmax(1)),
}
ORDERS: dict[str, Tail] = {
    "cumulated": lambda net, s: net.head(s.softmax(1).cumsum(1)),
    "survived": lambda net, s: s.sigmoid().cumprod(1).sum(1),
    "rolled": lambda net, s: net.head(s.roll(1, 1)),
    "largest so far": lambda net, s: net.head(s.cummax(1).values),
    "where the largest so far stood": lambda net, s: s.cummax(1).indices.float().mean(1),
    "smallest so far": lambda net, s: s.cummin(1).indices.float().mean(1),
    "pooled": lambda net, s: F.max_pool1d(s[:, None], CLASSES).flatten(1),
}
POSITIONS: dict[str, Tail] = {
    "expected value": lambda net, s: s.softmax(1) @ steps(s),
    "expected value, summed": lambda net, s: (s.softmax(1) * steps(s)).sum(1),
    "expected value, einsum": lambda net, s: torch.einsum("nc,c->n", s.softmax(1), steps(s)),
    "tensor of a module": lambda net, s: (s.softmax(1) * net.kept_aside[: s.shape[1]]).sum(1),
    "first ones": lambda net, s: net.head(s * (torch.arange(s.shape[1]) < 4)),
    "first ones, where": lambda net, s: net.head(torch.where(torch.arange(s.shape[1]) < 4, s, 0.0)),
    "sines": lambda net, s: net.head(s + torch.sin(torch.arange(s.shape[1]))),
    "triangle": lambda net, s: net.head(s @ torch.tril(torch.ones(s.shape[1], s.shape[1]))),
    "literal": lambda net, s: (s * torch.tensor([0.1 * i for i in range(CLASSES)])).sum(1),
    "added to a weight": lambda net, s: net.head(F.linear(s, torch.eye(s.shape[1]))),
    "one-hot": lambda net, s: (s.softmax(1) * F.one_hot(torch.tensor([2]), s.shape[1])).sum(1),
    "a token beside": lambda net, s: net.head(torch.cat([s[:, None], steps(s).expand(len(s), 1, -1)], 1).mean(1)),
}
FREE: dict[str, Tail] = {
    "largest value": lambda net, s: s.max(1).values,
    "unused indices": lambda net, s: net.head(s) + s.max(1, keepdim=True)[0],
    "median value": lambda net, s: s.median(1).values,
    "zeros": lambda net, s: net.head(s + torch.zeros_like(s)),
    "ones": lambda net, s: s.softmax(1) @ torch.ones(s.shape[1]),
    "noise": lambda net, s: net.head(s + 0.0 * torch.randn_like(s)),
    "turned round": lambda net, s: net.head(s.flip(1)),
    "buffer": lambda net, s: (s.softmax(1) * net.values).sum(1),
    "positions in time": lambda net, s: (net.head(s)[:, None] * torch.arange(5.0)[:, None]).sum(1),
    "bins of values": lambda net, s: net.head(torch.bucketize(s, torch.linspace(-1, 1, 5)).float()),
    "bins of values, bounds in a buffer": lambda net, s: net.head(torch.bucketize(s, net.values[:4]).float()),
    "values searched": lambda net, s: net.head(torch.searchsorted(torch.linspace(-1, 1, 5), s).float()),
    "smallest and largest value": lambda net, s: torch.stack(torch.aminmax(s, dim=1), 1),
    "most frequent value": lambda net, s: s.mode(1).values,
    "median that passes over gaps": lambda net, s: s.nanmedian(1).values,
    "largest over time": lambda net, s: net.head((s[..., None] * torch.arange(4.0)).topk(2).values.sum(2)),
    "sorted over time": lambda net, s: net.head((s[..., None] * torch.arange(4.0)).sort().values[..., 0]),
    "second over time": lambda net, s: net.head((s[..., None] * torch.arange(4.0)).kthvalue(2).values),
}


def traced(tail: Tail, *, normalised: bool) -> Graph:
    torch.manual_seed(0)
    return trace(Scores(tail, normalised=normalised).eval(), torch.zeros(1, 3, 6, 6))


def frozen_code(graph: Graph, name: str) -> set[FreezeCode]:
    assert name not in {group.name for group in graph}
    return {frozen.code for frozen in graph.frozen if frozen.name == name}


@pytest.mark.parametrize("tail", INDICES)
def test_channels_whose_index_is_used_stay(tail):
    assert FreezeCode.INDEX in frozen_code(traced(INDICES[tail], normalised=True), "score")


def test_channels_that_become_a_number_of_pythons_stay():
    graph = traced(lambda net, s: net.head(s * s.max().item()), normalised=False)
    assert frozen_code(graph, "score") == {FreezeCode.DECISION}


@pytest.mark.parametrize("tail", ORDERS)
def test_channels_that_are_run_over_in_order_stay(tail):
    assert frozen_code(traced(ORDERS[tail], normalised=True), "score") == {FreezeCode.ORDER}


@pytest.mark.parametrize("tail", POSITIONS)
def test_channels_whose_position_meets_fresh_numbers_stay(tail):
    assert frozen_code(traced(POSITIONS[tail], normalised=True), "score") == {FreezeCode.POSITION}


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("tail", FREE)
def test_channels_in_any_order_are_offered(tail, normalised):
    graph = traced(FREE[tail], normalised=normalised)
    assert {"body": 8, "score": CLASSES}.items() <= {g.name: g.channels for g in graph}.items(), graph.frozen


@pytest.mark.parametrize(
    "tail",
    [
        lambda net, s: s[:, 1],
        lambda net, s: numbered(s),
        lambda net, s: net.head(torch.cat([s[:, : s.shape[1] // 2].relu(), s[:, s.shape[1] // 2 :].tanh()], 1)),
        lambda net, s: net.head(torch.cat([torch.zeros_like(s[:, :4]), s[:, 4:]], 1)),
    ],
    ids=["one picked", "numbered by Python", "halves", "first ones emptied"],
)
def test_channels_picked_by_number_stay_where_a_normalisation_hides_it_from_masks(tail):
    graph = traced(tail, normalised=True)
    assert "score" not in {g.name for g in graph}
    assert "body" in {g.name for g in graph}


def test_the_first_and_the_last_channel_may_be_picked():
    graph = traced(lambda net, s: torch.trapezoid(s, dim=1), normalised=True)
    assert {g.name: g.channels for g in graph} == {"body": 8, "score": CLASSES - 2}


class Chosen(nn.Module):
    """What a policy network returns: how likely the action is that it is asked about."""

    def __init__(self, look: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.body, self.score, self.look = nn.Linear(6, 16), nn.Linear(16, 9), look

    def forward(self, x: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        return self.look(self.score(F.relu(self.body(x))).softmax(1), action)


@pytest.mark.parametrize(
    ("look", "code"),
    [
        (lambda p, action: p.gather(1, action[:, None]), FreezeCode.INDEX),
        (lambda p, action: p.index_select(1, action), FreezeCode.INDEX),
        (lambda p, action: p[torch.arange(len(action)), action], FreezeCode.INDEX),
        (lambda p, action: (p * F.one_hot(action, p.shape[1])).sum(1), FreezeCode.POSITION),
        (lambda p, action: (p * torch.eye(p.shape[1])[action]).sum(1), FreezeCode.POSITION),
        (lambda p, action: (p * (torch.arange(p.shape[1]) == action[:, None])).sum(1), FreezeCode.INPUT),
        (lambda p, action: F.nll_loss(p, action), FreezeCode.UNKNOWN_OPERATION),
    ],
    ids=["gather", "index_select", "index", "one-hot", "identity", "compared", "loss"],
)
def test_channels_that_an_input_chooses_from_stay(look, code):
    graph = trace(Chosen(look).eval(), (torch.zeros(1, 6), torch.tensor([0])))
    assert code in frozen_code(graph, "score")


class OverSpace(nn.Module):
    """Coordinates of the largest response of each channel, mixed by a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.maps, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 6, 1), nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.maps(F.relu(self.body(x)))
        share = maps.flatten(2).softmax(2).view(maps.shape)
        rows = (share * torch.linspace(0, 1, share.shape[2])[:, None]).sum((2, 3))
        columns = (share.sum(2) @ torch.linspace(0, 1, share.shape[3])[:, None])[..., 0]
        return self.head(torch.cat([rows, columns], 1))


def test_positions_in_space_freeze_no_channels():
    graph = trace(OverSpace().eval(), torch.zeros(1, 3, 8, 8))
    assert {g.name: (g.channels, g.verification) for g in graph} == {"body": (8, "exact"), "maps": (6, "exact")}


class RotaryBlock(nn.Module):
    """Attention whose queries and keys are turned by angles made anew for each length."""

    def __init__(self, heads: int = 4, width: int = 8) -> None:
        super().__init__()
        self.heads, self.width = heads, width
        self.enter = nn.Linear(6, 16)
        self.query, self.key, self.value = (nn.Linear(16, heads * width) for _ in range(3))
        self.leave, self.head = nn.Linear(heads * width, 16), nn.Linear(16, 3)

    def _turned(self, x: torch.Tensor) -> torch.Tensor:
        speeds = 100 ** -torch.linspace(0, 1, self.width // 2)
        angles = torch.arange(x.shape[2])[:, None] * torch.cat([speeds, speeds])
        left, right = x.chunk(2, -1)
        return x * angles.cos() + torch.cat([-right, left], -1) * angles.sin()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.enter(x)
        by_head = [
            layer(x).view(*x.shape[:2], -1, self.width).transpose(1, 2) for layer in (self.query, self.key, self.value)
        ]
        scores = self._turned(by_head[0]) @ self._turned(by_head[1]).transpose(-2, -1) + self._bias(x.shape[1])
        mixed = scores.softmax(-1) @ by_head[2]
        return self.head(x + self.leave(mixed.transpose(1, 2).flatten(2)))

    def _bias(self, length: int) -> torch.Tensor:
        return torch.full((length, length), -10.0).triu(1)


def test_rotary_positions_freeze_no_heads():
    graph = trace(RotaryBlock().eval(), torch.zeros(1, 5, 6))
    assert {g.name: g.channels for g in graph} == {"enter": 16, "query": 4}


class Experts(nn.Module):
    """A gate picks two of four experts; rows go to each in turn, or all compute and two are gathered."""

    def __init__(self, *, gathered: bool) -> None:
        super().__init__()
        self.gathered, self.gate, self.head = gathered, nn.Linear(8, 4), nn.Linear(8, 3)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8)) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shares, chosen = self.gate(x).softmax(-1).topk(2, -1)
        if self.gathered:
            made = torch.stack([expert(x) for expert in self.experts], 1)
            picked = made.gather(1, chosen[..., None].expand(-1, -1, made.shape[2]))
            return self.head((picked * shares[..., None]).sum(1))
        out = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            rows, place = torch.where(chosen == number)
            out[rows] += expert(x[rows]) * shares[rows, place, None]
        return self.head(out)


@pytest.mark.parametrize("gathered", [False, True])
def test_gates_stay_and_what_is_inside_experts_goes_chosen_or_not(gathered):
    graph = trace(Experts(gathered=gathered).eval(), torch.zeros(1, 8))
    assert frozen_code(graph, "gate") == {FreezeCode.INDEX}
    assert {f"experts.{i}.0": 16 for i in range(4)}.items() <= {g.name: g.channels for g in graph}.items()


class Quantiser(nn.Module):
    """The nearest of the codes stands for what is encoded (van den Oord et al. 2017, VQ-VAE)."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.codes, self.decode = nn.Linear(8, 6), nn.Embedding(10, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, codes = self.encode(x), self.codes.weight
        nearest = (x.square().sum(1, keepdim=True) - 2 * x @ codes.t() + codes.square().sum(1)).argmin(1)
        return self.decode(self.codes(nearest)), nearest


def test_codes_keep_their_numbers():
    graph = trace(Quantiser().eval(), torch.randn(1, 8))
    assert FreezeCode.INDEX in frozen_code(graph, "codes")
    assert {g.name: g.channels for g in graph} == {"encode": 6}


def test_bins_whose_values_are_a_buffer_keep_them():
    torch.manual_seed(0)
    net = Scores(FREE["buffer"], normalised=False).eval()
    graph = trace(net, torch.zeros(1, 3, 6, 6))
    with torch.no_grad():
        net.score.weight.mul_(0.01)
        net.score.bias.fill_(-30.0)
        net.score.bias[7:9] = 0
        net.score.weight[7:9] *= 100
    small = prune(net, graph, Policy.from_kept(graph, {"score": 2}))
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(small(x), net(x), atol=1e-3, rtol=0)
