"""A program of ``torch.export``, which runs without the task's code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ...evaluators.onnx.program_export import export_program
from ...evaluators.task.task import Task
from ..export_shapes import told
from ..manifest import PT2
from ..parity import Forward, pt2_forward
from ..pt2_write import write_program


class Pt2Format:
    """``model.pt2``, written without sample inputs."""

    file = PT2
    description = "the network as a program of `torch.export`"

    def write(self, model: nn.Module, task: Task, folder: Path) -> dict[str, dict[str, Any]]:
        """Write the file, for any batch and what else varies."""
        program = export_program(model, task)
        write_program(program.file, folder / PT2)
        return {PT2: told(program)}

    def forward(self, file: Path, *, trust: bool) -> Forward:
        """Return its outputs: by PyTorch where it is trusted, else its operators one by one."""
        return pt2_forward(file, trust=trust)

    def usage(self, file: str, input_names: Sequence[str]) -> str:
        """Return how PyTorch runs it."""
        return f"""With `torch.export`, without the task's code. PyTorch executes what such a file says: load it
only where you trust who made it; `espalier verify` does not execute it.

```python
import torch

model = torch.export.load("{file}").module()
```
"""
