"""Random numbers in forward: seeded and aligned, so that noise is no error; what is drawn by place stays in place."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from espalier.spaces import Policy, prune, trace
from espalier.spaces.graph.passes import ForwardPass, run
from espalier.spaces.graph.random_numbers import seeded

ZEROS = torch.zeros(1, 6)


class Noisy(nn.Module):
    def __init__(self, noise) -> None:
        super().__init__()
        self.noise = noise
        self.enter, self.back, self.leave = nn.Linear(6, 16), nn.Linear(16, 12), nn.Linear(12, 3)

    def forward(self, x):
        h = F.relu(self.enter(x))
        return self.leave(F.relu(self.back(self.noise(h))))


ALIGNED = {
    "normal": lambda h: h + torch.randn_like(h),
    "flat": lambda h: h * torch.rand(h.numel()).view_as(h),
    "by channel": lambda h: h * torch.empty(h.shape[1]).uniform_(0.5, 2),
    "law with tensors": lambda h: torch.normal(h, 0.1),
    "integers": lambda h: h * torch.randint(1, 5, h.shape),
    "exponential": lambda h: h * torch.empty_like(h).exponential_(2.0),
    "dropout": lambda h: F.dropout(h, 0.3, training=True),
    "transposed": lambda h: F.dropout(h.t(), 0.3, training=True).t(),
    "other generators": lambda h: h * (0.5 + random.random()) + float(np.random.rand()),  # noqa: NPY002
}
BY_PLACE = {
    "a generator of its own": lambda h: h * torch.rand(h.shape[1], generator=torch.Generator().manual_seed(3)),
    "a seed of its own": lambda h: (torch.manual_seed(3), h * torch.rand(h.shape[1]))[1],
    "a permutation": lambda h: h * torch.randperm(h.shape[1]),
    "numpy": lambda h: h * torch.from_numpy(np.random.rand(h.shape[1])).float(),  # noqa: NPY002
}


@pytest.mark.parametrize("noise", ALIGNED)
def test_noise_of_a_groups_width_is_no_error(noise):
    torch.manual_seed(0)
    dense = Noisy(ALIGNED[noise]).eval()
    graph = trace(dense, ZEROS)
    assert {g.name: (g.channels, g.verification) for g in graph.groups} == {
        "enter": (16, "exact"),
        "back": (12, "exact"),
    }
    small = prune(dense, graph, Policy.uniform(graph, 0.5))
    assert small(torch.randn(4, 6)).shape == (4, 3)


@pytest.mark.parametrize("noise", BY_PLACE)
def test_numbers_that_belong_to_places_keep_the_channels(noise):
    torch.manual_seed(0)
    graph = trace(Noisy(BY_PLACE[noise]).eval(), ZEROS)
    assert {g.name for g in graph.groups} == {"back"}
    assert {f.name for f in graph.frozen} == {"enter", "leave"}


def test_seeded_gives_every_generator_back():
    torch.manual_seed(5), random.seed(5), np.random.seed(5)  # noqa: NPY002
    wanted = torch.rand(1).item(), random.random(), np.random.rand()  # noqa: NPY002
    torch.manual_seed(5), random.seed(5), np.random.seed(5)  # noqa: NPY002
    with seeded():
        torch.rand(3), random.random(), np.random.rand()  # noqa: NPY002
    assert (torch.rand(1).item(), random.random(), np.random.rand()) == wanted  # noqa: NPY002


def test_one_draw_of_another_size_shifts_no_other():
    class Draws(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.width = width

        def forward(self, x):
            return torch.rand(len(x), self.width), torch.rand(4, 5).t().contiguous(), torch.randn_like(x)

    x = torch.zeros(2, 3)
    wide = run(Draws(7), ForwardPass(x))
    narrow = run(Draws(4), ForwardPass(x), like=wide.draws)
    again = run(Draws(7), ForwardPass(x), like=narrow.draws)
    assert torch.equal(narrow.outputs[0], again.outputs[0][:, :4])
    assert torch.equal(narrow.outputs[1], again.outputs[1])
    assert torch.equal(narrow.outputs[2], again.outputs[2])
    assert not narrow.draws.unaligned
    assert not again.draws.unaligned
