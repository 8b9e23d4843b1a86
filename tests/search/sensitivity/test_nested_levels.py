"""The path of shrinking networks, and what candidates take over along it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest

from espalier.errors import RunFolderError
from espalier.search.sensitivity.nested_levels import nested_levels
from espalier.search.sensitivity.table import Probe, SensitivityTable
from espalier.spaces.policy import Policy
from espalier.spaces.search_space import SearchSpace
from espalier.testing.analytic import analytic_graph

WIDTHS = (64, 64)


def space() -> SearchSpace:
    return SearchSpace(analytic_graph(*WIDTHS), channel_multiple=8)


def kept(policy: Policy) -> tuple[int, ...]:
    return tuple(choice.kept for choice in policy.choices.values())


def prober(cost, loss):
    return lambda policies: [Probe(cost(*kept(p)), loss(*kept(p))) for p in policies]


def never() -> bool:
    return False


def walked(space, probe, *, levels, enough, share=1.0, recovery=None):
    table = SensitivityTable.probed(space, probe, enough=enough, recovery=recovery)
    return nested_levels(space, table, levels=levels, share=share)


def test_the_group_that_loses_less_goes_first():
    # Both groups save alike; the first costs ten times the loss.
    probe = prober(lambda a, b: a * b, lambda a, b: 10 * (64 - a) + (64 - b))
    path = [kept(level.policy) for level in walked(space(), probe, levels=4, enough=never)]
    assert path[0][0] == 64
    assert path[0][1] < 64


def test_every_network_keeps_less_than_the_one_before():
    probe = prober(lambda a, b: a + 2 * b, lambda a, b: (64 - a) ** 2 + (64 - b) ** 2)
    path = [kept(level.policy) for level in walked(space(), probe, levels=6, enough=never)]
    assert len(path) > 2
    assert all(a >= c and b >= d and (a, b) != (c, d) for (a, b), (c, d) in itertools.pairwise(path))


def test_widths_that_gain_nothing_are_no_steps():
    # A device that computes 32 channels at a time: 40 and 64 cost the same, so do 8 and 32.
    stairs = prober(lambda a, b: math.ceil(a / 32) + math.ceil(b / 32), lambda a, b: 128 - a - b)
    path = {width for level in walked(space(), stairs, levels=8, enough=never) for width in kept(level.policy)}
    assert path <= {32, 64}


def test_nothing_to_gain_is_no_path():
    assert walked(space(), prober(lambda a, b: 5.0, lambda a, b: 0.0), levels=4, enough=never) == ()


def test_a_bound_is_passed_early():
    probe = prober(lambda a, b: a * b, lambda a, b: (64 - a) + (64 - b))
    share = 0.3
    path = [kept(level.policy) for level in walked(space(), probe, levels=4, share=share, enough=never)]
    above = [p for p in path if p[0] * p[1] > share * 64 * 64]
    assert len(above) <= 1
    assert len(path) - len(above) >= 3


def test_without_time_each_group_is_tried_once():
    tried = []

    def probe(policies: Sequence[Policy]) -> list[Probe]:
        tried.extend(kept(policy) for policy in policies)
        return [Probe(float(sum(kept(policy))), 0.0) for policy in policies]

    walked(space(), probe, levels=4, enough=lambda: True)
    assert tried == [(64, 64), (32, 64), (64, 32)]


def test_the_table_is_kept_with_the_run(tmp_path):
    probe = prober(lambda a, b: a * b, lambda a, b: 10 * (64 - a) + (64 - b))
    table = SensitivityTable.probed(space(), probe, enough=never)
    assert any(table.steps.values())
    assert SensitivityTable.read(tmp_path) is None
    table.write(tmp_path)
    assert SensitivityTable.read(tmp_path) == table
    (tmp_path / "sensitivity.json").write_text('{"version": 1, "groups": {"layer0": [{"type": "channel"}]}}')
    with pytest.raises(RunFolderError, match="no table"):
        SensitivityTable.read(tmp_path)
