"""Whether latencies that runs claim on this machine hold: members of fronts measured again, in processes of their own.

    python benchmarks/claimed_latency.py RUN... [--repeats N] [--json FILE]

Each RUN is the folder of a finished search on ``host``. Its front is rebuilt from policies and weights and measured in
turns, dense network included, in a new process per repeat. A claim holds where the fresh measurement lies in the
interval that the run states, of its latency plus or minus its error. Exits with 1 where under nine of ten hold.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from espalier.errors import InputError
from espalier.evaluators.hardware.device import load_device
from espalier.evaluators.hardware.estimate import cost_model_for
from espalier.evaluators.task_evaluator import TaskEvaluator
from espalier.evaluators.training.threads import torch_threads
from espalier.reports.export import task_of_run
from espalier.search.run_folder import Run, open_run
from espalier.spaces.graph.trace import trace

HOLDS = 0.9
COLUMNS = ("run", "trial", "precision", "claimed_ms", "error", "fresh_ms", "ratio", "holds")
Row = dict[str, Any]


def fresh(run: Run) -> dict[int, float]:
    """Return the latency in ms of each member of the front, measured now."""
    task = task_of_run(run)
    device = load_device(run.info.options.device)
    graph = trace(task.model().eval(), task.example_input, freeze=task.freeze)
    threads = run.info.options.threads_per_worker
    with torch_threads(threads):
        evaluator = TaskEvaluator(task, graph, run.rankings, device, threads)
        members = run.front.configurations
        models = [evaluator.dense_model]
        models += [evaluator.rebuild(c.policy, str(run.weights_path(c.trial))) for c in members]
        precisions = ["fp32", *(c.policy.precision for c in members)]
        files = [evaluator.deployed(m, p).onnx for m, p in zip(models, precisions, strict=True)]
        costs = cost_model_for(device, threads=threads).estimate_together(
            models, task.example_input, precisions=precisions, onnx=files
        )
    return {c.trial: cost.latency_ms for c, cost in zip(members, costs[1:], strict=True)}


def rows_of(folder: Path, repeats: int) -> list[Row]:
    """Return a row per member and repeat."""
    run = open_run(folder)
    if not load_device(run.info.options.device).reachable or not run.finished:
        raise InputError(f"{folder} is no finished run for a device that can be measured here")
    rows: list[Row] = []
    for _ in range(repeats):
        command = [sys.executable, __file__, "--fresh", str(folder)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = {int(trial): ms for trial, ms in json.loads(answer.splitlines()[-1]).items()}
        for c in run.front.configurations:
            claimed, ms = float(c.metrics["latency_ms"] or 0.0), found[c.trial]
            rows.append(
                {
                    "run": folder.name,
                    "trial": c.trial,
                    "precision": c.policy.precision,
                    "claimed_ms": round(claimed, 5),
                    "error": round(c.latency_error, 3),
                    "fresh_ms": round(ms, 5),
                    "ratio": round(ms / claimed, 3),
                    "holds": abs(ms - claimed) <= c.latency_error * claimed,
                }
            )
    return rows


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--repeats", type=int, default=3, help="processes that each measure a front once")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--fresh", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fresh:
        print(json.dumps(fresh(open_run(options.runs[0]))))
        return 0
    load = round(os.getloadavg()[0], 1)
    rows = [row for folder in options.runs for row in rows_of(folder, options.repeats)]
    print("  ".join(f"{c:>10}" for c in COLUMNS))
    for row in rows:
        print("  ".join(f"{row[c]!s:>10}" for c in COLUMNS))
    share = sum(row["holds"] for row in rows) / len(rows)
    ratio = median(row["ratio"] for row in rows)
    print(f"{share:.1%} of {len(rows)} claims hold; fresh over claimed, median {ratio:.3f}; load {load}")
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        content = {"version": 1, "repeats": options.repeats, "load": load, "share": share, "rows": rows}
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0 if share >= HOLDS else 1


if __name__ == "__main__":
    sys.exit(main())
