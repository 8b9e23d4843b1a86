"""Random small networks: each gives a verified network or frozen groups with reasons, and none crashes."""

from __future__ import annotations

import pytest
import torch
from espalier.testing.random_networks import check_random_network, random_network

CHUNK = 10
"""Seeds to a test."""


@pytest.mark.parametrize("first", range(0, 200, CHUNK))
def test_random_networks_keep_the_promise(first: int) -> None:
    for seed in range(first, first + CHUNK):
        check_random_network(seed)


def test_a_seed_names_a_network_and_leaves_the_random_state() -> None:
    before = torch.random.get_rng_state()
    one, same, other = (random_network(seed) for seed in (3, 3, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    assert repr(one) == repr(same) != repr(other)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, same.state_dict()[name])
