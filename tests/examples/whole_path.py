"""A task's whole path on the command line, and its export in ONNX Runtime beside PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from espalier.cli.main import main

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run_path(task: str, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Run every command on ``task`` in the current folder; each has to exit with 0. Return what each printed."""
    search = ["--trials", "3", "--samples", "64", "--workers", "1", "--no-export-check"]
    printed = {}
    for words in (
        ["inspect", task],
        ["search", task, "--device", "host", "--out", "run", "--objectives", "metric,size", *search],
        ["report", "run"],
        ["pick", "run", "--max-drop", "100%"],
        ["export", "run", "--pick", "smallest", "--out", "out"],
        ["verify", "out", "--task", task],
    ):
        code = main(words)
        output = capsys.readouterr()
        printed[words[0]] = output.out + output.err
        assert code == 0, printed[words[0]]
    return printed


def differences(export: Path, sizes: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], float]:
    """Return by how much ``model.onnx`` and ``model.pt2`` differ at most, for inputs of each size."""
    session = onnxruntime.InferenceSession(str(export / "model.onnx"), providers=["CPUExecutionProvider"])
    network = torch.export.load(str(export / "model.pt2")).module()
    found = {}
    for size in sizes:
        inputs = _inputs(session, size)
        (given,) = session.run(None, inputs)
        tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
        with torch.no_grad():  # called as the example input is: a dict by keyword, a tensor by place
            outputs = network(**tensors) if len(tensors) > 1 else network(*tensors.values())
        expected = outputs["logits"] if isinstance(outputs, dict) else getattr(outputs, "logits", outputs)
        assert given.shape == tuple(expected.shape)
        found[size] = float(np.abs(given - expected.numpy()).max())
    return found


def _inputs(session: onnxruntime.InferenceSession, size: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Draw inputs; the mask of a text hides the last two tokens of every other sample."""
    random = np.random.default_rng(0)
    if "input_ids" not in {node.name for node in session.get_inputs()}:
        return {session.get_inputs()[0].name: random.standard_normal(size).astype(np.float32)}
    mask = np.ones(size, dtype=np.int64)
    mask[::2, -2:] = 0
    return {"input_ids": random.integers(1, 20, size) * mask, "attention_mask": mask}
