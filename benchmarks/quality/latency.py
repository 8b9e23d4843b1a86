"""Measures a folder of exported networks in turns, in a process of its own; prints milliseconds as JSON.

python -m espalier.benchmarks.quality.latency FOLDER
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from espalier.evaluators.hardware.measured import measure_interleaved
from espalier.evaluators.onnx.onnx_export import export_onnx

PROCESSES = 2
"""What differs between processes (where memory lies) hides inside each; the smaller median of two counts."""
ROUNDS = 5
EXAMPLE = "example.safetensors"


def measured_ms(networks: Sequence[nn.Module], example_input: torch.Tensor) -> list[float]:
    """Return each network's latency: blocks in turns with all others, the least of the medians over two processes."""
    with tempfile.TemporaryDirectory(prefix="espalier-latency-") as name:
        folder = Path(name)
        save_file({"x": example_input.contiguous()}, folder / EXAMPLE)
        for number, network in enumerate(networks):
            (folder / f"{number:04d}.onnx").write_bytes(export_onnx(network, example_input))
        times = [_process(folder) for _ in range(PROCESSES)]
    return [min(each) for each in zip(*times, strict=True)]


def _process(folder: Path) -> list[float]:
    command = [sys.executable, "-m", __name__, str(folder)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main(folder: Path) -> int:
    """Measure and print."""
    torch.set_num_threads(1)
    files = [path.read_bytes() for path in sorted(folder.glob("*.onnx"))]
    found = measure_interleaved(files, load_file(folder / EXAMPLE)["x"], threads=1, rounds=ROUNDS)
    print(json.dumps([measurement.median_ms for measurement in found]))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
