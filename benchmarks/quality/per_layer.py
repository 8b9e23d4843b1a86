"""Optuna with one ratio per layer: the sixty lines that people write."""

from __future__ import annotations

from collections.abc import Iterator

import optuna

from espalier.errors import EvaluationError

from .base import Candidate
from .cutting import Cutter, rounded
from .setting import Setting

TRIALS = 30
"""How many trainings of the dense network the budget is split into; pruned ones are cheaper, so more fit in."""
MOST = 0.875


def study(setting: Setting, sampler: optuna.samplers.BaseSampler) -> Iterator[Candidate]:
    """Ask for a ratio per layer, train for a fixed number of samples, tell accuracy and latency; until time is up."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    cutter = Cutter.of(setting.dense, setting.example_input)
    share = setting.budget.seconds / TRIALS
    samples = max(setting.task.batch_size, int(share / setting.seconds_per_sample(setting.dense)))
    found = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    while setting.budget.left > 0:
        trial = found.ask()
        widths = {
            name: rounded(channels * (1 - trial.suggest_float(name, 0.0, MOST)), channels)
            for name, channels in cutter.channels.items()
        }
        try:
            network = setting.train(cutter.cut(setting.dense, widths), samples)
        except EvaluationError:
            found.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        accuracy, latency = setting.validate(network), setting.latency_ms(network)
        found.tell(trial, [accuracy, latency])
        yield Candidate(network, f"trial {trial.number}", samples, accuracy)
