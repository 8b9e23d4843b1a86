"""Copies of networks: whatever modules hold, the copy works by itself and the original stays as it was."""

from __future__ import annotations

import functools
import logging
import queue
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from espalier.errors import InputError
from espalier.spaces.graph.copying import copied


class Holder(nn.Module):
    """Keeps a value beside a layer."""

    def __init__(self, kept: Any = None) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)
        self.kept = kept

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


class Bag:
    """An object of a user's own."""


def bag() -> Bag:
    held = Bag()
    held.lock, held.seen = threading.Lock(), {"maps": [torch.ones(2, requires_grad=True) * 3]}
    return held


def changed_by_one_(network: nn.Module) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)


@pytest.mark.parametrize(
    "make",
    [
        threading.Lock,
        threading.RLock,
        threading.Condition,
        threading.Event,
        threading.Semaphore,
        threading.Thread,
        queue.Queue,
        bag,
        lambda: {"locks": [threading.Lock(), (threading.RLock(),)]},
        lambda: sys,
        lambda: Path(__file__).open(),  # noqa: SIM115 - a file that stays open is what is tried
        lambda: logging.getLogger("espalier.tests"),
        lambda: memoryview(b"ab"),
        lambda: [torch.ones(2, requires_grad=True) * 2],
    ],
)
def test_networks_are_copied_whatever_their_modules_keep(make):
    model = Holder(make())
    network = copied(model)
    assert network.layer.weight is not model.layer.weight
    x = torch.randn(2, 3)
    assert torch.equal(network(x), model(x))
    assert type(network.kept) is type(model.kept)
    if hasattr(model.kept, "close"):
        model.kept.close()


def test_a_lock_is_a_new_one_and_a_file_the_same():
    lock = threading.Lock()
    with lock:
        network = copied(Holder(lock))
    assert network.kept is not lock
    assert network.kept.acquire(blocking=False)
    assert copied(Holder(sys)).kept is sys


def test_a_queue_and_a_semaphore_of_the_copy_work():
    model = Holder(queue.Queue())
    model.kept.put(1)
    network = copied(model)
    assert network.kept.get(timeout=1) == 1
    assert model.kept.qsize() == 1
    semaphore = copied(Holder(threading.Semaphore(2))).kept
    assert [semaphore.acquire(blocking=False) for _ in range(3)] == [True, True, False]


def test_a_generator_of_random_numbers_goes_on_by_itself():
    model = Holder([torch.Generator().manual_seed(3), threading.Lock()])
    network = copied(model)
    first = torch.rand(4, generator=network.kept[0])
    assert torch.equal(first, torch.rand(4, generator=model.kept[0]))


def test_a_kept_activation_is_copied_without_its_history():
    model = Holder()
    model.kept = model(torch.randn(2, 3))
    network = copied(model)
    assert torch.equal(network.kept, model.kept)
    assert network.kept.grad_fn is None
    assert network.kept.data_ptr() != model.kept.data_ptr()
    assert model.kept.grad_fn is not None


def test_a_hook_of_the_copy_acts_on_the_copy():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    model[0].register_forward_hook(lambda module, given, out: out + model[0].bias)
    model[1].register_forward_pre_hook(functools.partial(lambda top, module, given: (given[0] * top[0].bias,), model))
    network = copied(model)
    changed_by_one_(model)
    x = torch.ones(1, 3)
    first = network[0].weight.sum(1) + 2 * network[0].bias
    assert torch.allclose(network(x)[0], network[1].weight @ (first * network[0].bias) + network[1].bias)


class Featured(nn.Module):
    """Reads what a hook has put into a dictionary that the hook closes over."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
        features: dict[str, torch.Tensor] = {}
        self.features = features
        self.first.register_forward_hook(lambda module, given, out: features.__setitem__("first", out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.first(x)
        return self.last(self.features["first"])


def test_what_a_hook_writes_into_is_the_copys_own():
    model = Featured()
    x = torch.randn(2, 3)
    before = model(x)
    network = copied(model)
    network.features.clear()
    assert torch.equal(network(x), before)
    assert network.features["first"] is not model.features["first"]
    kept = model.features["first"]
    network(torch.zeros(1, 3))
    assert model.features["first"] is kept


def test_lists_that_a_hook_fills_outside_of_the_network_stay_as_they_are():
    seen: list[torch.Tensor] = []
    model = nn.Sequential(nn.Linear(3, 4))
    model[0].register_forward_hook(lambda module, given, out: seen.append(out))
    copied(model)(torch.zeros(1, 3))
    assert not seen


def test_forward_replaced_by_a_function_runs_the_copy():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    plain = model.forward
    model.forward = lambda x: plain(x) * 2  # pyright: ignore[reportAttributeAccessIssue]
    x = torch.randn(2, 3)
    network = copied(copied(model))
    before = model(x)
    changed_by_one_(model)
    assert torch.equal(network(x), before)


class Child(nn.Module):
    def __init__(self, parent: nn.Module) -> None:
        super().__init__()
        self.parent = weakref.ref(parent)


def test_a_weak_reference_is_to_the_copy():
    model = Holder()
    model.child = Child(model)
    network = copied(model)
    assert network.child.parent() is network
    assert model.child.parent() is model


def test_a_function_without_the_network_is_the_same_one():
    def scale(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    assert copied(Holder(scale)).kept is scale


@pytest.mark.parametrize("make", [lambda: (i for i in "ab"), threading.local, lambda: {"a": [(i for i in "ab")]}])
def test_what_cannot_be_copied_is_named_with_its_module(make):
    model = nn.Sequential(Holder(), Holder(make()))
    with pytest.raises(InputError, match=r"module '1' holds .* in \.kept.*Delete model\.1\.kept"):
        copied(model)


class CopiesToItself(nn.Linear):
    def __deepcopy__(self, memo: object) -> CopiesToItself:
        return self


def test_a_module_that_copies_to_itself_is_refused():
    model = nn.Sequential(nn.Linear(3, 4), CopiesToItself(4, 2))
    with pytest.raises(InputError, match=r"module '1' \(CopiesToItself\) is no copy of it"):
        copied(model)


@pytest.mark.parametrize(
    "write", [lambda w: w.data.zero_(), lambda w: w.detach().mul_(2), lambda w: w.data.numpy().fill(7)]
)
def test_lazy_copies_part_as_soon_as_one_of_them_is_written_to(write: Any):
    for written in (0, 1):
        model = Holder()
        before = model.layer.weight.detach().clone()
        pair = (model, copied(model, lazy=True))
        assert pair[0].layer.weight is not pair[1].layer.weight
        write(pair[written].layer.weight)
        assert torch.equal(pair[1 - written].layer.weight, before)
        assert not torch.equal(pair[written].layer.weight, before)


def test_lazy_copies_run_backwards_and_keep_what_needs_no_gradient():
    model = Holder()
    model.layer.bias.requires_grad_(False)
    lazy = copied(model, lazy=True)
    lazy(torch.ones(2, 3)).sum().backward()
    assert lazy.layer.weight.grad is not None
    assert model.layer.weight.grad is None
    assert not lazy.layer.bias.requires_grad


def test_lazy_copies_keep_shared_parameters_shared():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    lazy = copied(model, lazy=True)
    assert lazy[1].weight is lazy[0].weight
    assert lazy[0].weight is not model[0].weight
