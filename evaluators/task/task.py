"""A task: a trained network with its data, loss and metric. It is what the user brings."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ...errors import TaskError, describe
from ...spaces.inputs import Inputs
from ..objectives import Direction
from .data import KEPT_BYTES, DataOfTask
from .example_input import one_sample

Data = Any
"""``(x, y)`` tensors or arrays with samples along dimension 0, a dict of columns, a list of samples or of batches, a
``Dataset``, an ``IterableDataset`` or a ``DataLoader``; samples are pairs or dicts."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A trained network and everything needed to fine-tune and judge it."""

    name: str
    model: Callable[[], nn.Module]
    """Builds the trained network: eval mode, on the CPU."""
    example_input: Inputs
    """A tensor, a tuple or a dict; a batch of 1, to which larger ones are cut. A list is of several such inputs, which
    together take all ways that the network has; the first is what costs are told for, and the others become
    ``further_inputs``."""
    train: Data
    validation: Data
    """Steers the search."""
    test: Data | None = None
    """Read once, for the report."""
    loss: Callable[[Any, Any], torch.Tensor] = F.cross_entropy
    """``(outputs, targets)`` to a scalar tensor. The default follows the metric: see :func:`~.losses.loss_of`."""
    metric: Any = "accuracy"
    """A name (``accuracy``, ``top5``, ``macro-f1``, ``auc``, ``rmse``, ``mae``, ``r2``, ``miou``, ``perplexity``); a
    function ``(outputs, targets)`` to a number; or a class or an object with ``reset``, ``update`` and ``compute``,
    such as of torchmetrics. All but functions take in one batch after the other."""
    metric_name: str | None = None
    """What people call the metric, such as ``RMSE``; ``None`` for its own name."""
    direction: Direction | None = None
    """``maximize`` or ``minimize``; ``None`` is what a built-in metric or one of torchmetrics knows, else maximize."""
    unit: str = ""
    """Of the metric, such as ``mm``."""
    usable_from: float | None = None
    """The score from which on a network is of use: the reference point of fronts, instead of half the dense score."""
    ignore_index: int | None = None
    """A label whose positions count in no built-in metric and not in the default loss, such as -100."""
    mask: str | None = None
    """Where targets are a dict: its entry that is above zero where a position counts, such as ``attention_mask``."""
    class_dim: int | None = None
    """The outputs' dimension of classes, 1 or -1; only where shapes cannot tell."""
    augment: Callable[[torch.Tensor, torch.Generator], torch.Tensor] | None = None
    """Changes a batch of training inputs at random, drawing from the generator given."""
    batch_size: int = 128
    learning_rate: float | None = None
    """The peak; ``None`` is the optimiser's own default: 0.01 for SGD, by the width for AdamW."""
    optimizer: Any = None
    """``sgd``, ``adamw``, or a function of the parameters that returns an optimiser; ``None`` follows the network."""
    weight_decay: float | None = None
    """``None`` is the optimiser's own default."""
    clip_norm: float | None = 5.0
    """Gradients are clipped to this norm; ``None`` clips nothing."""
    schedule: str = "cosine"
    """How the learning rate goes after a short rise: ``cosine``, ``linear``, ``constant``."""
    label_smoothing: float = 0.0
    """Of the default loss, in [0, 1)."""
    freeze: Sequence[str] = ()
    """Names of layers never to prune."""
    fine_tune: Callable[..., nn.Module] | None = None
    """Replaces the built-in loop: ``(model, task, samples, generator)`` to the trained network."""
    evaluate: Callable[..., float] | None = None
    """Replaces the built-in metric loop: ``(model, data)`` to a number, better as ``direction`` says."""
    target_key: str | Sequence[str] | None = None
    """Which key of samples that are dicts is the target; by default the only one of ``labels``, ``label``,
    ``label_ids``, ``targets``, ``target`` and ``y``."""
    train_samples: int | None = None
    """How many samples an epoch takes of training data without a length, as an ``IterableDataset``'s."""
    validation_samples: int | None = None
    """The same of the validation data."""
    test_samples: int | None = None
    """The same of the test data."""
    kept_bytes: int = KEPT_BYTES
    """How much memory samples take at most that are read from data sets once and kept, in each process; 0 keeps none,
    which data need that change in a way that reading a few samples twice does not show."""
    dynamic: Mapping[str, Mapping[int, str]] | None = None
    """Axes whose size varies besides the batch, by input, such as ``{"input_ids": {1: "length"}}``; exported files take
    any size there. Unless given, axes are found whose size differs between the example and samples of the data."""
    further_inputs: Sequence[Inputs] = ()
    """Example inputs on which the network is traced besides the first."""
    reference: str | None = None
    """What loads the task again, such as ``digits`` or ``tasks.py:mine``; set by :func:`load_task`."""
    data: DataOfTask = field(default_factory=DataOfTask, init=False, repr=False, compare=False)
    """What was read of the data in this process."""

    def __post_init__(self) -> None:
        """Take a list of example inputs apart, and cut larger ones to one sample, as costs are told for a batch of 1.

        Raises:
            TaskError: the list is empty.
        """
        examples = self.example_input if isinstance(self.example_input, list) else [self.example_input]
        if not examples:
            raise TaskError(
                describe(
                    f"example_input of task {self.name!r} is an empty list",
                    expected="at least one input",
                    remedy="Give a tensor, a tuple of arguments or a dict of them, or a list of several.",
                )
            )
        cut = [one_sample(example) for example in (*examples, *self.further_inputs)]
        (first, _), *others = cut
        object.__setattr__(self, "example_input", first)
        object.__setattr__(self, "further_inputs", tuple(example for example, _ in others))
        batch = max(batch for _, batch in cut)
        if batch > 1:
            warnings.warn(
                f"example_input of task {self.name!r} is a batch of {batch}: its first sample is taken, "
                "as costs are told for a batch of 1.",
                stacklevel=3,
            )
