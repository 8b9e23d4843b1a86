"""What each way to store int8 costs in accuracy and time, as it is right and as this processor computes it.

    python benchmarks/int8_schemes.py [--tasks digits,cifar10-resnet8] [--samples N] [--rounds N] [--json FILE]

Each task's network is quantised as it was brought. "Right" accuracies are of sums in 32 bits, as a processor with VNNI
computes them: ONNX Runtime is made to store the weights so, and every product is compared with exact integers. "Here"
is what an ordinary session on this processor makes of the same file. Latencies are of ordinary sessions, one thread,
measured in turns. Exits with 1 where a product that should be right is not.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from espalier.evaluators.hardware.calibrate import processor_name
from espalier.evaluators.hardware.instruction_set import instruction_set
from espalier.evaluators.hardware.measured import measure_interleaved
from espalier.evaluators.hardware.onnxruntime_session import runtime_version
from espalier.evaluators.onnx.int8_notice import checked_on_training_data
from espalier.evaluators.onnx.onnx_export import export_onnx
from espalier.evaluators.onnx.onnx_network import OnnxNetwork
from espalier.evaluators.onnx.quantisation import quantise
from espalier.evaluators.onnx.quantisation_scheme import SCHEMES, QuantisationScheme
from espalier.evaluators.task.task import Task
from espalier.evaluators.task.task_loading import load_task
from espalier.evaluators.training.scoring import score

SIGNED = QuantisationScheme("s8s8", "int8", "int8", 127, "x86 with VNNI, Arm")
"""Not registered: on x86 ONNX Runtime makes activations uint8 or computes in fp32, so it is slow and saturates too."""
COLUMNS = ("task", "scheme", "right", "here", "wrong_products", "worst_levels", "latency_ms")
Row = dict[str, Any]


def rows_of(task: Task, *, samples: int | None, rounds: int) -> list[Row]:
    """Return a row for fp32 and for each scheme."""
    model = task.model().eval()
    schemes = [*(SCHEMES.get(name) for name in SCHEMES), SIGNED]
    files = [quantise(model, task, scheme=scheme) for scheme in schemes]
    networks = [export_onnx(model, task.example_input), *files]
    latencies = [m.median_ms for m in measure_interleaved(networks, task.example_input, rounds=rounds)]
    plain = score(model, task, task.validation, limit=samples)
    first = {"task": task.name, "scheme": "fp32", "right": plain, "here": plain, "latency_ms": latencies[0]}
    return [
        {**dict.fromkeys(COLUMNS), **first},
        *(
            {"task": task.name, "scheme": scheme.name, "latency_ms": latency, **_accuracies(model, task, file, samples)}
            for scheme, file, latency in zip(schemes, files, latencies[1:], strict=True)
        ),
    ]


def _accuracies(model: nn.Module, task: Task, file: bytes, samples: int | None) -> Row:
    right, here = (
        OnnxNetwork(file, like=model, example_input=task.example_input, exact_products=exact) for exact in (True, False)
    )
    checked = checked_on_training_data(file, model, task)
    exact = checked_on_training_data(file, model, task, exact_products=True)
    return {
        "right": score(right, task, task.validation, limit=samples),
        "here": score(here, task, task.validation, limit=samples),
        "wrong_products": len(checked.wrong),
        "products": checked.compared,
        "worst_levels": max(checked.wrong.values(), default=0.0),
        "right_is_exact": exact.passed and exact.skipped == 0,
    }


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for row in rows:
        wrong = "" if row["wrong_products"] is None else f"{row['wrong_products']} of {row['products']}"
        worst = "" if row["worst_levels"] is None else f"{row['worst_levels']:.0f}"
        lines.append(
            f"| {row['task']} | {row['scheme']} | {100 * row['right']:.2f} % | {100 * row['here']:.2f} % | {wrong} | "
            f"{worst} | {row['latency_ms']:.3f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="digits,cifar10-resnet8")
    parser.add_argument("--samples", type=int, help="validation samples; all unless given")
    parser.add_argument("--rounds", type=int, default=9, help="blocks of runs that each latency is the best of")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    processor = f"{processor_name()}: {instruction_set()}; ONNX Runtime {runtime_version()}"
    print(processor)
    rows: list[Row] = []
    for name in options.tasks.split(","):
        rows += rows_of(load_task(name), samples=options.samples, rounds=options.rounds)
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps({"processor": processor, "rows": rows}, indent=2), encoding="utf-8")
    faults = [f"{row['task']} {row['scheme']}" for row in rows if row.get("right_is_exact") is False]
    print(f"not exact: {', '.join(faults)}" if faults else "every right accuracy is of exact products")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
