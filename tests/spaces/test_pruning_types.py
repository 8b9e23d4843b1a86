"""Every pruning type against the contract."""

from __future__ import annotations

from espalier.spaces import PRUNING_TYPES
from espalier.testing.pruning_types import PruningTypeContract


class TestNone(PruningTypeContract):
    kind = "none"


class TestChannel(PruningTypeContract):
    kind = "channel"


class TestPattern(PruningTypeContract):
    kind = "nm"


class TestWeight(PruningTypeContract):
    kind = "weight"


def test_no_registered_type_is_left_out():
    assert {contract.kind for contract in PruningTypeContract.__subclasses__()} >= set(PRUNING_TYPES)
