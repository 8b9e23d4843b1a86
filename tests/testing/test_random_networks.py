"""Random small networks: each gives a verified network or frozen groups with reasons, and none crashes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from espalier.spaces.apply import prune
from espalier.testing.random_networks import check, check_random_network, random_network
from espalier.testing.random_networks.outputs import FORMS, Holder
from espalier.testing.random_networks.written_outputs import distance, written

FAST, ALL, CHUNK = 20, 200, 10
"""Seeds of every run of the tests, of the slow ones, and of one test."""


@pytest.mark.parametrize("first", range(0, FAST, CHUNK))
def test_random_networks_keep_the_promise(first: int) -> None:
    for seed in range(first, first + CHUNK):
        check_random_network(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(FAST, ALL, CHUNK))
def test_more_random_networks_keep_the_promise(first: int) -> None:
    for seed in range(first, first + CHUNK):
        check_random_network(seed)


def test_a_seed_names_a_network_and_leaves_the_random_state() -> None:
    before = torch.random.get_rng_state()
    one, same, other = (random_network(seed) for seed in (3, 3, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    assert repr(one) == repr(same) != repr(other)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, same.state_dict()[name])


def _not_a_number(model: nn.Module) -> None:
    nn.init.constant_(next(model.parameters()), math.nan)


def _other_values(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if name.startswith("head"):
            nn.init.constant_(parameter, 0.5)


def _other_output(model: nn.Module) -> None:
    model.form = "list"  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_not_a_number, "half, eval mode: output .* is not finite"),
        (_other_values, "off its masked twin's"),
        (_other_output, "half, eval mode: the outputs' form changed"),
    ],
)
def test_a_fault_is_told_with_its_seed(change: Any, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(*args: Any, **kwargs: Any) -> nn.Module:
        pruned = prune(*args, **kwargs)
        with torch.no_grad():
            change(pruned)
        return pruned

    monkeypatch.setattr(check, "prune", faulty)
    with pytest.raises(AssertionError, match=rf"random network {SOUND} of depth 8: .*{words}"):
        check_random_network(SOUND)


SOUND = 2
"""A seed whose network has groups that are exact and floating-point outputs."""


def test_an_exception_is_told_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "trace", lambda *_: [][0])
    with pytest.raises(AssertionError, match="random network 0 of depth 8: IndexError: list index out of range"):
        check_random_network(0)


def test_every_form_of_output_is_seen() -> None:
    scores, hidden = torch.rand(2, 5), torch.rand(2, 7)
    for name, form in FORMS.items():
        assert written(form(scores, hidden)), name
    places = [w.place for w in written({"a": Holder(scores, [hidden]), "b": None})]
    assert places == ["/dict.a/Holder.scores", "/dict.a/Holder.others/list.0"]


def test_outputs_are_as_far_apart_as_computed_by_hand() -> None:
    wanted = torch.tensor([1.0, -4.0, math.inf, math.nan])
    assert distance(wanted, wanted) == 0
    assert distance(torch.tensor([1.5, -4.0, math.inf, math.nan]), wanted) == 0.125
    assert distance(torch.tensor([1.0, -4.0, 0.0, math.nan]), wanted) == math.inf
    assert distance(torch.zeros(3), wanted) == math.inf
