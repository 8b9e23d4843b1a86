"""What the built-in tasks' networks are worth before anything is pruned, measured on this machine.

    python benchmarks/dense_networks.py [--data FOLDER] [--threads N] [--json FILE]

Tasks whose data are absent are left out, with the reason.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from espalier import Task, load_task, measure
from espalier.errors import TaskError
from espalier.evaluators.counting import count_macs, count_params
from espalier.evaluators.task.task_loading import BUILT_IN_TASKS
from espalier.evaluators.training.scoring import score


def row(task: Task, *, threads: int) -> dict[str, Any]:
    """Return accuracies, counts and latency of one task's network."""
    network = task.model().eval()
    latency = measure(network, task.example_input, threads=threads)
    return {
        "task": task.name,
        "validation": round(score(network, task, task.validation), 4),
        "test": round(score(network, task, task.test), 4),
        "macs": count_macs(network, task.example_input),
        "params": count_params(network),
        "latency_ms": round(latency.median_ms, 4),
        "spread": round(latency.spread, 3),
        "threads": threads,
    }


def main() -> int:
    """Print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with CIFAR-10 and the trained weights")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where to write the rows")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for name in BUILT_IN_TASKS:
        try:
            rows.append(row(load_task(name, data=options.data), threads=options.threads))
        except TaskError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    print("  ".join(f"{field:>16}" for field in rows[0]))
    for found in rows:
        print("  ".join(f"{value!s:>16}" for value in found.values()))
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"version": 1, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
