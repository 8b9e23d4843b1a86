from __future__ import annotations

import dataclasses

from espalier.evaluators.configuration import Configuration
from espalier.evaluators.evaluation import Evaluation
from espalier.evaluators.latency_inversions import keeps_more, slower_than
from espalier.spaces.policy import Choice, Policy


def policy(precision: str = "fp32", **kept: int) -> Policy:
    return Policy("f", {n: Choice.channel(kept=k, of=64, criterion="l2") for n, k in kept.items()}, precision)


def configuration(trial: int, latency: float, *, error: float = 0.1, **kept: int) -> Configuration:
    evaluation = Evaluation({"latency_ms": latency, "accuracy": 0.5}, "measured", error, 0)
    return Configuration(trial, policy(**kept), evaluation)


def test_keeping_more_is_of_every_group_at_one_precision() -> None:
    assert keeps_more(policy(a=64, b=32), policy(a=31, b=32))
    assert not keeps_more(policy(a=64, b=31), policy(a=31, b=32))
    assert not keeps_more(policy(a=31, b=32), policy(a=31, b=32))
    assert not keeps_more(policy("int8", a=64, b=32), policy(a=31, b=32))
    zeroed = dataclasses.replace(
        policy(a=64, b=32), choices={**policy(a=64, b=32).choices, "a": Choice("nm", "l2", 2, 4)}
    )
    assert not keeps_more(zeroed, policy(a=31, b=32))


def test_the_staircase_is_flagged_beyond_the_error() -> None:
    dense = configuration(0, 1.28, a=64, b=64)
    half = configuration(1, 0.40, a=32, b=32)
    odd = configuration(2, 1.45, a=31, b=31)
    near = configuration(3, 0.42, a=24, b=32)
    assert slower_than([dense, half, odd, near]) == {2: 1}
    assert slower_than([dense, configuration(2, 1.45, error=0.75, a=31, b=31), half]) == {}
    assert slower_than([dense, odd]) == {}  # 1.45 ms less a tenth is not beyond 1.28 ms and a tenth
