"""What every method is given: the task, one recipe to train by, one way to validate and to time, and the budget."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field

import torch
from torch import nn

from espalier import Task, measure
from espalier.evaluators.task.data import as_network_input, batches
from espalier.evaluators.training.batch_norm import recalibrate
from espalier.evaluators.training.fidelity import RECALIBRATION_SAMPLES
from espalier.evaluators.training.fine_tune import fine_tune
from espalier.evaluators.training.scoring import score
from espalier.spaces.inputs import network_channels_last

from .budget import Budget
from .tasks import image_of

PROBE_STEPS = 3
CHANNEL_MULTIPLE = 8
"""What a user who has read about blocked kernels rounds widths to; Espalier's device ``host`` has the same."""


@dataclass
class Setting:
    """One task, seed and budget. Everything that its methods do is counted."""

    task: Task
    dense: nn.Module
    seed: int
    budget: Budget
    _made: int = field(default=0, init=False, repr=False)

    @property
    def example_input(self) -> torch.Tensor:
        """What the network takes, a batch of 1."""
        return image_of(self.task)

    def generator(self) -> torch.Generator:
        """Return a generator that no other call returns, and the same ones in each run of the seed."""
        self._made += 1
        return torch.Generator().manual_seed(1_000_003 * self.seed + self._made)

    def train(self, model: nn.Module, samples: int) -> nn.Module:
        """Fine-tune ``model`` in place by the recipe that all methods share.

        Raises:
            BudgetSpentError: the budget was used up before.
            EvaluationError: the training diverged.
        """
        self.budget.check()
        return fine_tune(network_channels_last(model), self.task, samples, self.generator())

    def train_for(self, model: nn.Module, seconds: float) -> tuple[nn.Module, int]:
        """Fine-tune ``model`` for about so many CPU seconds; return it and the samples that it saw."""
        begin = self.budget.used
        each = self.seconds_per_sample(model)
        samples = max(self.task.batch_size, int((seconds - (self.budget.used - begin)) / each))
        return self.train(model, samples), samples

    def seconds_per_sample(self, model: nn.Module) -> float:
        """Return what a sample of training costs, from a few steps of a copy."""
        self.budget.check()
        probe = network_channels_last(copy.deepcopy(model))
        generator = torch.Generator().manual_seed(0)
        fine_tune(probe, self.task, self.task.batch_size, generator)
        begin = time.process_time()
        fine_tune(probe, self.task, PROBE_STEPS * self.task.batch_size, generator)
        return (time.process_time() - begin) / (PROBE_STEPS * self.task.batch_size)

    def validate(self, model: nn.Module, *, limit: int | None = None) -> float:
        """Return the accuracy on validation data."""
        self.budget.check()
        return score(model, self.task, self.task.validation, limit=limit)

    def recalibrate(self, model: nn.Module) -> nn.Module:
        """Take BatchNorm's statistics anew, in place."""
        self.budget.check()
        walk = batches(self.task.train, name="train", task=self.task).walk(
            self.task.batch_size, generator=torch.Generator().manual_seed(0), limit=RECALIBRATION_SAMPLES
        )
        recalibrate(model, (as_network_input(inputs, self.task.example_input) for inputs, _ in walk))
        return model.eval()

    def latency_ms(self, model: nn.Module) -> float:
        """Return the measured latency: ONNX Runtime, fp32, one thread."""
        self.budget.check()
        return measure(model, self.example_input, threads=1).median_ms
