"""How well criteria foretell what a channel is worth, and how long they take.

    python benchmarks/criteria.py [--task TASK] [--groups N] [--samples N] [--seed N] [--data FOLDER] [--json FILE]

For each criterion and group: the rank correlation (Spearman) between the criterion's ranking of the channels and the
rise of the loss when a channel alone is zeroed, wherever the group holds it. The loss is the mean over validation
samples. A criterion looks at as many training samples as it does for a search. What fine-tuning makes up for is not in
these numbers, nor what channels do together.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from espalier import Task, load_task, trace
from espalier.evaluators.task.data import as_network_input, batches
from espalier.evaluators.task.losses import loss_of as task_loss
from espalier.evaluators.task.ranking_samples import ranking_samples
from espalier.reports.rank_correlation import rank_correlation
from espalier.spaces.graph.groups import Graph, Group
from espalier.spaces.graph.slicing import positions_of, zeroed
from espalier.spaces.importance.criteria import CRITERIA
from espalier.spaces.importance.rankings import Rankings, rank
from espalier.spaces.importance.samples import at_most
from espalier.spaces.inputs import call

Batches = Sequence[tuple[Any, Any]]


def validation_samples(task: Task, count: int) -> Batches:
    """Return the first ``count`` validation samples."""
    walk = batches(task.validation, name="validation", task=task).walk(256, limit=count)
    return at_most(((as_network_input(x, task.example_input), y) for x, y in walk), count)


def loss_of(model: nn.Module, task: Task, samples: Batches) -> float:
    """Return the mean loss; batches count by their size."""
    with torch.no_grad():
        losses = [(float(task_loss(task)(call(model, x), y)), len(y)) for x, y in samples]
    return sum(loss * n for loss, n in losses) / sum(n for _, n in losses)


def rises(model: nn.Module, group: Group, task: Task, samples: Batches) -> list[float]:
    """Return, for each channel of a group, how much the loss rises when it alone is zeroed."""
    dense = loss_of(model, task, samples)
    return [
        loss_of(zeroed(model, positions_of([(group, [channel])])), task, samples) - dense
        for channel in range(group.channels)
    ]


def spread(graph: Graph, count: int) -> list[Group]:
    """Return ``count`` groups, evenly from the first to the last."""
    last = len(graph) - 1
    picked = sorted({round(i * last / max(1, count - 1)) for i in range(min(count, len(graph)))})
    return [graph.groups[i] for i in picked]


def timed_ranking(model: nn.Module, graph: Graph, name: str, task: Task, seed: int) -> tuple[Rankings, float]:
    """Return a criterion's rankings and the seconds that they took, drawing the samples left out."""
    samples = ranking_samples(task, seed=seed)
    begin = time.perf_counter()
    found = rank(model, graph, (name,), samples=samples, seed=seed)
    return found, time.perf_counter() - begin


def agreement(ranking: Sequence[int], worth: Sequence[float]) -> float:
    """Return the rank correlation of a ranking, best first, with what each channel is worth."""
    place = {channel: -position for position, channel in enumerate(ranking)}
    return rank_correlation([place[c] for c in range(len(worth))], worth) or 0.0


def study(task: Task, *, groups: int, samples: int, seed: int) -> list[dict[str, Any]]:
    """Return one row for each criterion, the best first."""
    model = task.model().eval()
    graph = trace(model, task.example_input, freeze=task.freeze)
    chosen, looked_at = spread(graph, groups), validation_samples(task, samples)
    worth = {group.name: rises(model, group, task, looked_at) for group in chosen}
    rows = []
    for name in CRITERIA:
        rankings, seconds = timed_ranking(model, graph, name, task, seed)
        each = {g.name: round(agreement(rankings.of(name, g.name), worth[g.name]), 3) for g in chosen}
        mean = round(statistics.mean(each.values()), 3)
        rows.append({"criterion": name, "correlation": mean, "seconds": round(seconds, 2), "groups": each})
    return sorted(rows, key=lambda row: -row["correlation"])


def main() -> int:
    """Print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="cifar10-resnet20")
    parser.add_argument("--groups", type=int, default=8, help="spread over the network's depth")
    parser.add_argument("--samples", type=int, default=256, help="validation samples that the loss is taken on")
    parser.add_argument("--seed", type=int, default=0, help="of the samples that criteria look at, and of random")
    parser.add_argument("--data", type=Path, help="folder with CIFAR-10 and the trained weights")
    parser.add_argument("--json", type=Path, help="where to write the rows")
    options = parser.parse_args()
    torch.set_num_threads(1)
    task = load_task(options.task, data=options.data)
    rows = study(task, groups=options.groups, samples=options.samples, seed=options.seed)
    print(f"{'criterion':>12}  correlation  least  seconds")
    for row in rows:
        least = min(row["groups"].values())
        print(f"{row['criterion']:>12}  {row['correlation']:11.2f}  {least:5.2f}  {row['seconds']:7.2f}")
    if options.json is not None:
        found = {"version": 1, "task": task.name, "samples": options.samples, "seed": options.seed, "rows": rows}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
