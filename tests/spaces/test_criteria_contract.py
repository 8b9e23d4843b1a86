"""Every registered criterion keeps the contract."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from espalier.spaces import CRITERIA
from espalier.spaces.importance.criteria import Criterion
from espalier.testing.criteria import CriterionContract, case


class RegisteredContract(CriterionContract):
    """The contract for a criterion of the registry."""

    name: ClassVar[str]

    @classmethod
    def make(cls) -> Criterion:
        return CRITERIA.get(cls.name)


class TestL1(RegisteredContract):
    name = "l1"


class TestL2(RegisteredContract):
    name = "l2"


class TestBatchNormScale(RegisteredContract):
    name = "bn_scale"


class TestGeometricMedian(RegisteredContract):
    name = "fpgm"


class TestLamp(RegisteredContract):
    name = "lamp"


class TestTaylor(RegisteredContract):
    name = "taylor"


class TestHessian(RegisteredContract):
    name = "hessian"


class TestActivation(RegisteredContract):
    name = "activation"


class TestRandom(RegisteredContract):
    name = "random"
    looks_at_channels = False


def test_none_is_missing():
    assert {test.name for test in RegisteredContract.__subclasses__()} == set(CRITERIA)


@pytest.mark.parametrize(
    ("kind", "layers"),
    [
        ("depthwise", {"stem", "depthwise", "pointwise"}),
        ("concatenation", {"left", "norm", "head"}),
        ("linear", {"widen", "narrow"}),
    ],
)
def test_the_networks_couple_what_they_are_named_for(kind, layers):
    assert any(layers <= set(group.layers) for group in case(kind).graph)


class PositionBlind:
    """A criterion that breaks the contract: the first channel is always the best."""

    needs = frozenset()

    def applies(self, group, statistics):
        return True

    def scores(self, group, statistics):
        return -torch.arange(group.channels, dtype=torch.float32)


class Broken(CriterionContract):
    __test__ = False

    @classmethod
    def make(cls) -> Criterion:
        return PositionBlind()


def test_the_contract_can_fail():
    with pytest.raises(AssertionError):
        Broken().test_scores_follow_the_channels(case("linear"))
