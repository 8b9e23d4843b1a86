"""Training mode: layers that run in it alone follow or freeze, noise is the same for both networks, nothing leaks."""

from __future__ import annotations

import copy
import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from espalier.spaces import Policy, prune, trace
from espalier.spaces.graph.outputs import output_tensors

ZEROS = torch.zeros(1, 3, 8, 8)


class Trained(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12)
        self.second, self.head = nn.Conv2d(12, 10, 3), nn.Linear(10, 5)
        self.make()

    def make(self) -> None:
        """Add what only some have."""

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.norm(self.first(x)))

    def rest(self, h: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.second(h)).mean((2, 3)))


class Auxiliary(Trained):
    def make(self):
        self.aux = nn.Sequential(nn.Conv2d(12, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 5, 1))

    def forward(self, x):
        h = self.body(x)
        out = {"out": self.rest(h)}
        return {**out, "aux": self.aux(h).mean((2, 3))} if self.training else out


class FixedAuxiliary(Trained):
    def make(self):
        self.aux = nn.Linear(12, 5)

    def forward(self, x):
        h = self.body(x)
        return (self.rest(h), self.aux(h.mean((2, 3)).view(-1, 12))) if self.training else self.rest(h)


class Teacher(Trained):
    """A copy follows the first layer by exponential average, in the way that ``write`` says."""

    write = "data"

    def make(self):
        self.teacher = copy.deepcopy(self.first)

    @torch.no_grad()
    def follow(self):
        pairs = list(zip(self.teacher.parameters(), self.first.parameters(), strict=True))
        if self.write == "foreach":
            torch._foreach_lerp_([t for t, _ in pairs], [s for _, s in pairs], 0.1)
        for teacher, student in pairs:
            if self.write == "data":
                teacher.data = teacher.data * 0.9 + student.data * 0.1
            elif self.write == "in place":
                teacher.mul_(0.9).add_(student, alpha=0.1)
            elif self.write == "copy":
                teacher.copy_(teacher * 0.9 + student.detach() * 0.1)

    def forward(self, x):
        if self.training:
            self.follow()
        return self.rest(self.body(x))


class Centred(Trained):
    def make(self):
        self.register_buffer("centre", torch.zeros(12))

    def forward(self, x):
        h = self.body(x)
        if self.training:
            self.centre.mul_(0.9).add_(h.detach().mean((0, 2, 3)), alpha=0.1)
        return self.rest(h - self.centre.view(1, -1, 1, 1))


class Noisy(Trained):
    def make(self):
        self.drop = nn.ModuleList([nn.Dropout(0.5), nn.Dropout2d(0.3), nn.AlphaDropout(0.2)])
        self.skipped = nn.Conv2d(12, 12, 3, padding=1)

    def forward(self, x):
        h = self.body(x)
        if not self.training:
            return self.rest(h + self.skipped(h))
        for drop in self.drop:
            h = drop(h)
        kept = h.new_empty((len(h), 1, 1, 1)).bernoulli_(0.5)
        h = h + self.skipped(h) * kept / 0.5
        return self.rest(h if random.random() < 0.5 else h + torch.randn_like(h))


def _trains(network: nn.Module) -> int:
    """Train two steps, and return how many tensors come out."""
    network.train()
    outputs = []
    for _ in range(2):
        outputs = output_tensors(network(torch.randn(4, 3, 8, 8)))
        sum(t.square().mean() for t in outputs).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
    return len(outputs)


@pytest.mark.parametrize(
    ("build", "groups"),
    [
        (Auxiliary, {"first": 12, "second": 10, "aux.0": 8}),
        (FixedAuxiliary, {"second": 10}),
        (Teacher, {"first": 12, "second": 10}),
        (Centred, {"first": 12, "second": 10}),
        (Noisy, {"first": 12, "second": 10}),
    ],
)
def test_pruned_networks_train(build, groups):
    torch.manual_seed(0)
    dense = build().eval()
    before, states = copy.deepcopy(dense.state_dict()), (torch.get_rng_state(), random.getstate())
    graph = trace(dense, ZEROS)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert not dense.training
    assert all(torch.equal(before[name], tensor) for name, tensor in dense.state_dict().items())
    assert {g.name: g.channels for g in graph.groups} == groups
    small = prune(dense, graph, Policy.uniform(graph, 0.5))
    assert _trains(small) == _trains(dense)


@pytest.mark.parametrize("write", ["data", "in place", "copy", "foreach"])
def test_a_teacher_follows_however_it_is_written(write):
    dense = Teacher().eval()
    dense.write = write
    graph = trace(dense, ZEROS)
    assert {s.layer for s in graph.group("first").slices} >= {"first", "norm", "teacher"}
    small = prune(dense, graph, Policy.uniform(graph, 0.5))
    assert small.teacher.weight.shape == small.first.weight.shape
    _trains(small)


def test_notes_say_what_runs_in_training_alone():
    notes = " / ".join(trace(Auxiliary().eval(), ZEROS).notes)
    assert "in training mode also run: aux.0" in notes
    assert "in training mode the outputs are others: out, aux" in notes


def test_a_mode_that_the_network_cannot_take_is_told():
    class Wanting(Trained):
        def forward(self, x, targets=None):
            if self.training and targets is None:
                raise ValueError("targets are wanted")
            return self.rest(self.body(x))

    graph = trace(Wanting().eval(), ZEROS)
    assert {g.name for g in graph.groups} == {"first", "second"}
    assert any("targets are wanted" in note for note in graph.notes)


def test_what_changes_places_in_training_alone_goes_together():
    class Flipping(Trained):
        def forward(self, x):
            h = self.body(x)
            return self.rest(h.flip(1) if self.training else h)

    graph = trace(Flipping().eval(), ZEROS)
    assert {g.name: g.channels for g in graph.groups} == {"first": 6, "second": 10}
