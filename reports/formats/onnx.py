"""ONNX, for ONNX Runtime and every other runtime that reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ...evaluators.task.task import Task
from ..export_shapes import write_onnx
from ..manifest import ONNX
from ..parity import Forward, onnx_forward


class OnnxFormat:
    """``model.onnx``, at fp32; the int8 file of a configuration is written beside it, whatever the formats."""

    file = ONNX
    description = "the network for ONNX Runtime and other runtimes, at fp32"

    def write(self, model: nn.Module, task: Task, folder: Path) -> dict[str, dict[str, Any]]:
        """Write the file, for any batch and what else varies."""
        return write_onnx(model, task, folder)

    def forward(self, file: Path, *, trust: bool) -> Forward:
        """Return its outputs in ONNX Runtime, which executes nothing of a file."""
        return onnx_forward(file)

    def usage(self, file: str, input_names: Sequence[str]) -> str:
        """Return how ONNX Runtime runs it."""
        feed = ", ".join(f'"{name}": {name}' for name in input_names)
        return f"""In ONNX Runtime, with NumPy arrays for {", ".join(f"`{n}`" for n in input_names)}:

```python
import onnxruntime

session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])
outputs = session.run(None, {{{feed}}})
```
"""
