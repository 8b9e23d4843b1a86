"""Objectives and constraints as users write them."""

from __future__ import annotations

import math

import pytest

from espalier.errors import ConstraintError, UnknownNameError
from espalier.evaluators.objectives import Constraint, objectives


def test_aliases_name_the_same_objective_once():
    assert [o.name for o in objectives("accuracy, latency,latency_ms,size")] == ["accuracy", "latency_ms", "size_bytes"]


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("latency_ms<=5", 5.0),
        ("latency <= 2.5ms", 2.5),
        ("size<=100KB", 100e3),
        ("size_bytes<64KiB", 65536.0),
        ("accuracy>=97%", 0.97),
        ("macs<=1.5M", 1.5e6),
        ("params<=1e5", 1e5),
    ],
)
def test_constraints_read_numbers_with_units(text, bound):
    assert Constraint.parse(text).bound == pytest.approx(bound)


@pytest.mark.parametrize(
    "text", ["latency_ms", "latency_ms=5", "<=5", "latency_ms<=fast", "latency_ms<=nan", "5>=latency_ms", ""]
)
def test_what_cannot_be_read_is_shown_with_an_example(text):
    with pytest.raises(ConstraintError, match="latency_ms<=5"):
        Constraint.parse(text)


def test_unknown_metrics_suggest_near_ones():
    with pytest.raises(UnknownNameError, match="'latency_ms'"):
        Constraint.parse("latensy_ms<=5")


def test_violation_is_relative_and_signed():
    upper, lower = Constraint.parse("latency_ms<=4"), Constraint.parse("accuracy>=0.8")
    assert upper.violation({"latency_ms": 5.0}) == pytest.approx(0.25)
    assert upper.violation({"latency_ms": 4.0}) == 0
    assert lower.violation({"accuracy": 0.9}) < 0 < lower.violation({"accuracy": 0.7})
    assert upper.violation({"latency_ms": None}) == math.inf
    assert upper.violation({}) == math.inf


def test_excess_is_in_the_metrics_unit():
    upper, lower = Constraint.parse("latency_ms<=4"), Constraint.parse("accuracy>=0.8")
    assert upper.excess({"latency_ms": 5.0}) == 1.0
    assert upper.excess({"latency_ms": 3.5}) == -0.5
    assert lower.excess({"accuracy": 0.75}) == pytest.approx(0.05)
    assert lower.excess({}) == math.inf


@pytest.mark.parametrize("text", ["size_bytes<=2097152.0", "latency_ms<=0.5", "macs<=1e+09"])
def test_constraints_are_written_as_they_are_read(text):
    assert Constraint.parse(str(Constraint.parse(text))) == Constraint.parse(text)
