"""The comparison of optimisers runs; what it says is told in docs/task.md."""

from __future__ import annotations

from espalier.benchmarks.optimizers import RIVALS, compare


def test_every_optimizer_is_tried_on_the_same_network():
    found = dict(compare(0, samples=[128], epochs=1))
    assert list(found) == ["dense", "pruned", *(f"128 samples, {name} {rate:g}" for name, rate in RIVALS)]
    assert all(0 <= value <= 1 for value in found.values())
