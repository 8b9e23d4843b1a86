"""Every pruning type against the contract."""

from __future__ import annotations

from espalier.spaces import PRUNING_TYPES
from espalier.spaces.architectures.branches import Absent, Skipped
from espalier.testing.pruning_types import PruningTypeContract


class TestNone(PruningTypeContract):
    kind = "none"


class TestChannel(PruningTypeContract):
    kind = "channel"


class TestBlock(PruningTypeContract):
    kind = "block"

    def check_promise(self, small, graph, policy):
        layers = dict(small.named_modules())
        if policy.choices["inner"].type != "block":
            super().check_promise(small, graph, policy)
            return
        assert all(type(layers[name]) is Skipped for name in ("inner", "depthwise"))
        assert type(layers["outer"]) is Absent
        assert not [name for name, _ in small.named_parameters() if name.startswith(("inner", "depthwise", "outer"))]


class TestPattern(PruningTypeContract):
    kind = "nm"


class TestWeight(PruningTypeContract):
    kind = "weight"


def test_no_registered_type_is_left_out():
    assert {contract.kind for contract in PruningTypeContract.__subclasses__()} >= set(PRUNING_TYPES)
