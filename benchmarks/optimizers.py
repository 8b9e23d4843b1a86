"""Which optimiser fine-tunes a pruned transformer best: SGD at several rates against AdamW at its default.

A small transformer reads scikit-learn's digits row by row. It is trained, cut to half of every group, and fine-tuned by
the product's own loop, with each optimiser on the same samples in the same order. Run it with
``python -m espalier.benchmarks.optimizers --seeds 3``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..evaluators.task.task import Task
from ..evaluators.training.fine_tune import fine_tune
from ..evaluators.training.scoring import score
from ..spaces.apply import prune
from ..spaces.graph.trace import trace
from ..spaces.policy import Policy

RIVALS = (("sgd", 0.01), ("sgd", 0.03), ("adamw", 0.001), ("adamw", 0.003))
SPARSITY = 0.5


class RowTransformer(nn.Module):
    """Reads an image as a sequence of its rows."""

    def __init__(self, width: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.place = nn.Parameter(torch.randn(1, 8, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return logits, shape ``(N, 10)``, of images of shape ``(N, 8, 8)``."""
        return self.head(self.norm(self.encoder(self.embed(rows) + self.place)).mean(1))


def digits(seed: int) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Return 1,200 training and 597 validation images with their labels, shuffled by ``seed``."""
    from sklearn.datasets import load_digits

    pixels, target = load_digits(return_X_y=True)
    images = torch.as_tensor(pixels, dtype=torch.float32).view(-1, 8, 8) / 8 - 1
    labels = torch.as_tensor(target).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    images, labels = images[order], labels[order]
    return (images[:1200], labels[:1200]), (images[1200:], labels[1200:])


def trained(seed: int, epochs: int) -> tuple[RowTransformer, Task]:
    """Return a transformer trained on the digits, and its task."""
    train, validation = digits(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = RowTransformer()
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
        steps = epochs * 10
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
        for _ in range(epochs):
            for rows in torch.randperm(1200).split(120):
                optimizer.zero_grad()
                F.cross_entropy(model(train[0][rows]), train[1][rows]).backward()
                optimizer.step()
                schedule.step()
    model.eval()
    task = Task(
        name="digit-rows",
        model=lambda: model,
        example_input=torch.zeros(1, 8, 8),
        train=train,
        validation=validation,
        batch_size=64,
    )
    return model, task


def compare(seed: int, *, samples: Sequence[int], epochs: int) -> Iterator[tuple[str, float]]:
    """Yield the validation accuracy of the dense, the pruned and each fine-tuned network, with what it is."""
    model, task = trained(seed, epochs)
    graph = trace(model, task.example_input)
    policy = Policy.uniform(graph, SPARSITY, criterion="l2")
    yield "dense", score(model, task, task.validation)
    yield "pruned", score(prune(model, graph, policy), task, task.validation)
    for count in samples:
        for name, rate in RIVALS:
            own = dataclasses.replace(task, optimizer=name, learning_rate=rate)
            tuned = fine_tune(prune(model, graph, policy), own, count, torch.Generator().manual_seed(seed))
            yield f"{count} samples, {name} {rate:g}", score(tuned, task, task.validation)


def main() -> None:
    """Print the accuracy of every network as it comes, then the means, and write them as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, nargs="+", default=[2400, 9600], help="of fine-tuning")
    parser.add_argument("--epochs", type=int, default=30, help="of training the dense network")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found: dict[str, list[float]] = {}
    for seed in range(given.seeds):
        for name, value in compare(seed, samples=given.samples, epochs=given.epochs):
            found.setdefault(name, []).append(value)
            print(f"seed {seed}  {name:28}  {value:.4f}", flush=True)
    for name, values in found.items():
        print(f"mean    {name:28}  {statistics.mean(values):.4f}  from {min(values):.4f} to {max(values):.4f}")
    if given.out is not None:
        given.out.write_text(json.dumps({"sparsity": SPARSITY, "accuracies": found}, indent=2))


if __name__ == "__main__":
    main()
