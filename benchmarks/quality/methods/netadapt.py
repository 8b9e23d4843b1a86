"""Greedy by measured latency: in each round every layer alone gives up enough to be faster, and the best one wins.

Yang et al., "NetAdapt: Platform-Aware Neural Network Adaptation for Mobile Applications", ECCV 2018, arXiv:1804.03230.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from espalier.errors import EvaluationError

from ..base import METHODS, Candidate
from ..cutting import Cutter, choices
from ..setting import Setting

ROUNDS = 6
STEP = 0.1
"""Of the dense latency that each round takes off."""
SHORT_SHARE = 0.5
"""Of the budget that goes into the short trainings that choose; the rest trains what was chosen."""
PROBE_SAMPLES = 1000


class NetAdapt:
    """Six rounds; the network of each is trained on at the end."""

    description = "NetAdapt-like: greedy by measured latency with short trainings; the network of each round trained on"

    def search(self, setting: Setting) -> Iterator[Candidate]:
        """Yield the network of each round, after its long training."""
        cutter = Cutter.of(setting.dense, setting.example_input)
        path = list(_rounds(setting, cutter))
        for done, (network, label, seen) in enumerate(path):
            trained, samples = setting.train_for(network, setting.budget.left / (len(path) - done))
            yield Candidate(trained, label, seen + samples)


def _rounds(setting: Setting, cutter: Cutter) -> Iterator[tuple[nn.Module, str, int]]:
    dense_ms = setting.latency_ms(setting.dense)
    network, seen, target = setting.dense, 0, dense_ms
    for number in range(ROUNDS):
        if number and setting.budget.used > SHORT_SHARE * setting.budget.seconds:
            return
        end = SHORT_SHARE * setting.budget.seconds * (number + 1) / ROUNDS
        target = min(target, setting.latency_ms(network)) - STEP * dense_ms
        proposals = [(n, w) for n in cutter.channels if (w := _fast_enough(setting, cutter, network, n, target))]
        best: tuple[float, nn.Module, str, int] | None = None
        for done, (name, width) in enumerate(proposals):
            small = cutter.cut(network, {name: width})
            try:
                share = max(0.0, end - setting.budget.used) / (len(proposals) - done)
                trained, samples = setting.train_for(small, share)
            except EvaluationError:
                continue
            accuracy = setting.validate(trained, limit=PROBE_SAMPLES)
            if best is None or accuracy > best[0]:
                best = accuracy, trained, f"round {number + 1}: {name} to {width}", samples
        if best is None:
            return
        network, seen = best[1], seen + best[3]
        yield network, best[2], seen


def _fast_enough(setting: Setting, cutter: Cutter, network: nn.Module, name: str, target_ms: float) -> int | None:
    """Return the largest width of one group with which ``network`` reaches the target; its least where none does."""
    current = cutter.widths(network)[name]
    smaller = [w for w in choices(cutter.channels[name]) if w < current]
    for width in reversed(smaller):
        if setting.latency_ms(cutter.cut(network, {name: width})) <= target_ms:
            return width
    return smaller[0] if smaller else None


METHODS.add("netadapt", NetAdapt())
